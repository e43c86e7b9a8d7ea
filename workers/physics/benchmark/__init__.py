"""The motion benchmark: optimisers on windows of motion, judged by loss and by what is seen."""
