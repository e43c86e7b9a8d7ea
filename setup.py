"""What setup.cfg cannot say: the description for a package index, and the tag of the wheel."""

import re
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

HERE = Path(__file__).parent


def description() -> str:
    """README.md with words for links to files, which lead nowhere from a package index, and without
    pictures, which are such files."""

    def words(link: re.Match[str]) -> str:
        text, target = link.groups()
        return text if text == target else f"{text} ({target})"

    text = (HERE / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"<picture>.*?</picture>\n*", "", text, flags=re.DOTALL)
    return re.sub(r"\[([^\]]*)\]\((?!https?:|#)([^)]*)\)", words, text)


class OurDistribution(Distribution):
    """With the compiled simulator in it the wheel is one of this platform, else of any."""

    def has_ext_modules(self) -> bool:
        return any((HERE / "workers/physics/native/lib").glob("*.so"))


class AnyPython(bdist_wheel):
    """The simulator is called through ctypes, so every Python can."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    long_description=description(),
    distclass=OurDistribution,
    cmdclass={"bdist_wheel": AnyPython},
)
