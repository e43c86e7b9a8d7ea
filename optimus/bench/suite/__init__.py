"""`optimus bench suite`: problems of other libraries, which no weights have seen."""
