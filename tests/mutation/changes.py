"""The places of a module where a small wrong change is possible."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

SWAPPED: dict[type[ast.cmpop] | type[ast.boolop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}
#: Fields with types, which nothing evaluates, and with decorators.
UNCHANGED = {"annotation", "returns", "decorator_list"}


class Change(NamedTuple):
    """The text of a module from byte `start` to before `end`, and the text that replaces it."""

    module: str
    line: int
    start: int
    end: int
    new: str

    def applied(self, text: bytes) -> bytes:
        return text[: self.start] + self.new.encode() + text[self.end :]

    def shown(self, text: bytes) -> str:
        """The whole line before and after, so that a single operator can be found in it."""
        old, new = (" ".join(part.decode().split()) for part in (text[self.start : self.end], self.new.encode()))
        line = text.decode().splitlines()[self.line - 1].strip()
        return f"bulkpresign/{self.module}.py:{self.line} {old} -> {new}    in: {line}"


class Finder:
    """Finds the places of a module where a small wrong change is possible."""

    def __init__(self, module: str, text: bytes) -> None:
        self._module, self._text = module, text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def changes(self) -> list[Change]:
        return [change for change in self._below(ast.parse(self._text), set(), is_bool=False) if self._is_valid(change)]

    def _is_valid(self, change: Change) -> bool:
        try:
            ast.parse(change.applied(self._text))
        except SyntaxError:
            return False
        return True

    def _below(self, node: ast.AST, bound: set[str], *, is_bool: bool) -> Iterator[Change]:
        """`bound`: names that have a value already; `is_bool`: the function returns a bool."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            is_bool = isinstance(node.returns, ast.Name) and node.returns.id == "bool"
            bound = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        yield from self._at(node, bound, is_bool=is_bool)
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                is_left_out = isinstance(child, ast.JoinedStr | ast.Assert) or "_logger." in _head(child)
                if isinstance(child, ast.AST) and name not in UNCHANGED and not is_left_out:
                    yield from self._below(child, bound, is_bool=is_bool)

    def _at(self, node: ast.AST, bound: set[str], *, is_bool: bool) -> Iterator[Change]:
        match node:
            case ast.Compare(left, ops, comparators):
                for before, operator, after in zip([left, *comparators], ops, comparators, strict=False):
                    yield self._between(before, after, *SWAPPED[type(operator)])
            case ast.BoolOp(operator, values):
                yield self._between(values[0], values[1], *SWAPPED[type(operator)])
            case ast.UnaryOp(ast.Not()):
                start = self._starts[node.lineno - 1] + node.col_offset
                yield Change(self._module, node.lineno, start, start + len("not"), "not not")
            case ast.Constant(int(value)) if not isinstance(value, bool):
                yield self._replaced(node, str(value + 1))
            case ast.Return(ast.expr() as value) if is_bool:
                yield self._replaced(value, f"not ({self._source(value)})")
            case ast.Expr(ast.Call() | ast.Await()) | ast.AugAssign():
                yield self._replaced(node, "pass")
            case ast.Nonlocal():
                bound.update(node.names)
            case ast.Assign(targets):
                names = {name for target in targets for name in _bound_by(target)}
                if names <= bound:  # else the next line would fail, which any test sees
                    yield self._replaced(node, "pass")
                bound.update(names)
        if isinstance(node, ast.If | ast.While | ast.IfExp) and ":=" not in self._source(node.test):
            yield self._replaced(node.test, "False")
            if not isinstance(node, ast.While):
                yield self._replaced(node.test, "True")

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _source(self, node: ast.expr | ast.stmt) -> str:
        start, end = self._span(node)
        return self._text[start:end].decode()

    def _replaced(self, node: ast.expr | ast.stmt, new: str) -> Change:
        return Change(self._module, node.lineno, *self._span(node), new)

    def _between(self, before: ast.expr, after: ast.expr, old: str, new: str) -> Change:
        """An operator alone: the parentheses around its operands are in no node."""
        at = self._text.index(old.encode(), self._span(before)[1], self._span(after)[0])
        line = self._text.count(b"\n", 0, at) + 1
        return Change(self._module, line, at, at + len(old), new)


def _bound_by(target: ast.expr) -> Iterator[str]:
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _head(node: object) -> str:
    return ast.unparse(node)[:20] if isinstance(node, ast.Expr) else ""
