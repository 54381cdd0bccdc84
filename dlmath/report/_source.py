"""What an experiment's file says of itself, read without executing it."""

import ast


def field_docstrings(text: str, config: str) -> dict[str, str]:
    r"""The docstring under each field of a class, read without executing the file.

    >>> field_docstrings('class Config:\n    width: int = 3\n    "Width of the network."', "Config")
    {'width': 'Width of the network.'}
    """
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == config:
            for field, doc in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    value = doc.value if isinstance(doc, ast.Expr) else None
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        found[field.target.id] = " ".join(value.value.split())
    return found


def paragraphs(text: str) -> list[tuple[str, str]]:
    r"""A docstring's blocks as ("p", text), or ("pre", text) where every line is indented.

    >>> paragraphs("A flow\nwith a law\n\n    a = b")
    [('p', 'A flow with a law'), ('pre', 'a = b')]
    """
    blocks = [block.strip("\n") for block in text.split("\n\n") if block.strip()]
    found = []
    for block in blocks:
        lines = block.split("\n")
        if all(line.startswith("    ") for line in lines):
            found.append(("pre", "\n".join(line[4:] for line in lines)))
        else:
            found.append(("p", " ".join(line.strip() for line in lines)))
    return found
