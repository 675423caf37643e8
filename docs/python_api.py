"""Describe the public names for the page of the Python API: signatures and docstrings.

    python -m docs.python_api     # prints Markdown

`build_site.py` appends it to `python-api.md`, in English in both languages.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from typing import Any

import centernet2
from centernet2 import jobs, option_groups

TITLES = {"Args": "Arguments", "Parameters": "Arguments"}
SECTION = re.compile(r"(Args|Raises|Returns|Yields):\n|(Parameters|Raises|Returns|Yields)\n-+\n")
ENTRY = re.compile(r"(\w[\w*, .]*?)(?:: |\n\s+)(.+)", re.DOTALL)  # name: text, or the text below
LINE = 88  # characters of a signature


def describe_public_names() -> str:
    """Return the public names as Markdown, and after them the options of functions."""
    public = [getattr(centernet2, name) for name in centernet2.__all__]
    parts: list[str] = []
    for value in [*public, *option_classes(public)]:
        parts += describe(value.__name__, value)
    return "\n\n".join(parts) + "\n"


def option_classes(public: Iterable[Any]) -> list[type]:
    """Return the classes of options that public functions take, in alphabetical order."""
    functions = filter(inspect.isfunction, public)
    defaults = [
        each.default for call in functions for each in inspect.signature(call).parameters.values()
    ]
    found = {type(each) for each in defaults if is_dataclass(each)}
    return sorted(found, key=lambda kind: kind.__name__)


def describe(name: str, value: Any) -> Iterator[str]:
    """Yield the paragraphs of a function, or of a class with its methods."""
    source = textwrap.dedent(inspect.getsource(value))
    (node,) = ast.parse(source).body
    yield f"## {name}"
    if not hasattr(centernet2, name):
        yield code(f"from {value.__module__} import {name}")
    if isinstance(node, ast.FunctionDef):
        yield from describe_function(name, node)
    if isinstance(node, ast.ClassDef):
        yield from describe_class(name, node, source.splitlines())


def describe_class(name: str, node: ast.ClassDef, lines: Sequence[str]) -> Iterator[str]:
    """Yield what makes an object, the docstring, and the public methods.

    Args:
        lines: source, whose comments describe fields.
    """
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    shown = [f"    {field(each, lines)}" for each in fields]
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    made = [signature(name, each) for each in methods if each.name == "__init__"]
    bases = ", ".join(map(ast.unparse, node.bases))
    yield code("\n".join([*made] or [f"class {name}({bases})".replace("()", ""), *shown]))
    yield from describe_docstring(node)
    for method in filter(is_shown, methods):
        yield f"### `{name}.{method.name}`"  # as code: __call__ would be bold
        yield from describe_function(f"{name}.{method.name}", method)


def field(node: ast.AnnAssign, lines: Sequence[str]) -> str:
    """Return the line of a field, with its default and comment as in the source."""
    first, *rest = lines[(node.annotation.end_lineno or 0) - 1 : node.end_lineno]
    end = "\n".join([first[node.annotation.end_col_offset :], *rest])
    return f"{ast.unparse(node.target)}: {written(node.annotation)}{end}"


def describe_function(name: str, node: ast.FunctionDef) -> Iterator[str]:
    """Yield the signature and the docstring of a function or method."""
    is_property = any(ast.unparse(each) == "property" for each in node.decorator_list)
    yield code(f"{name}{returned(node)}" if is_property else signature(name, node))
    yield from describe_docstring(node)


def is_shown(method: ast.FunctionDef) -> bool:
    """Whether a method is public; overloads repeat another one."""
    is_overload = any(ast.unparse(each) == "overload" for each in method.decorator_list)
    is_public = not method.name.startswith("_") or method.name == "__call__"
    return is_public and not is_overload


def code(text: str) -> str:
    """Return a code block."""
    return f"```python\n{text}\n```"


def signature(name: str, node: ast.FunctionDef) -> str:
    """Return the signature of a function, with one argument a line where it is long."""
    given = [each for each in arguments(node.args) if each != "self"]
    short = f"{name}({', '.join(given)}){returned(node)}"
    if len(short) <= LINE:
        return short
    return "\n".join([f"{name}(", *(f"    {each}," for each in given), f"){returned(node)}"])


def arguments(given: ast.arguments) -> Iterator[str]:
    """Yield each argument with its type and default."""
    plain = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(given.defaults))
    for each, default in zip(plain, [*defaults, *given.defaults], strict=True):
        yield with_default(each, default)
    if given.vararg is not None:
        yield f"*{with_default(given.vararg, None)}"
    elif given.kwonlyargs:
        yield "*"
    for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield with_default(each, default)
    if given.kwarg is not None:
        yield f"**{with_default(given.kwarg, None)}"


def with_default(argument: ast.arg, default: ast.expr | None) -> str:
    """Return an argument with its type and default."""
    text = argument.arg
    if argument.annotation is not None:
        text += f": {written(argument.annotation)}"
    return text if default is None else f"{text} = {ast.unparse(default)}"


def returned(node: ast.FunctionDef) -> str:
    """Return the type of the result, for a signature."""
    if node.returns is None or node.name == "__init__":
        return ""
    return f" -> {written(node.returns)}"


def written(annotation: ast.expr) -> str:
    """Return a type as a caller reads it, without quotes."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    return ast.unparse(Written().visit(annotation))


class Written(ast.NodeTransformer):
    """Removes options of the command line from types, and aliases."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if ast.unparse(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
            return self.visit(node.slice.elts[0])
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self.visit(ALIASES[node.id]) if node.id in ALIASES else node


def read_aliases() -> dict[str, ast.expr]:
    """Return the types of arguments of commands that have a name, from where they are defined."""
    found: dict[str, ast.expr] = {}
    sources = inspect.getsource(option_groups) + inspect.getsource(jobs)
    for node in ast.walk(ast.parse(sources)):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            found[ast.unparse(node.target)] = node.value or ast.Constant(None)
        elif isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("Annotated["):
            found.setdefault(ast.unparse(node.targets[0]), node.value)
    return found


ALIASES = read_aliases()


def describe_docstring(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """Yield the paragraphs of a docstring, those of sections as lists."""
    docstring = ast.get_docstring(node)
    for text in docstring.split("\n\n") if docstring else ():
        match = SECTION.match(text)
        if match is None:
            yield text
            continue
        title = match[1] or match[2]
        yield f"**{TITLES.get(title, title)}**"
        yield from describe_entries(textwrap.dedent(text[match.end() :]))


def describe_entries(text: str) -> Iterator[str]:
    """Yield the entries of a section as a list, or its text."""
    entries = [ENTRY.fullmatch(each) for each in re.split(r"\n(?=\S)", text)]
    if all(entries):
        yield "\n".join(f"- `{each[1]}`: {' '.join(each[2].split())}" for each in entries if each)
    else:
        yield text


if __name__ == "__main__":
    print(describe_public_names(), end="")
