"""How times, sizes and numbers of things are put into words."""


def duration(seconds: float | None) -> str:
    """Seconds for a human.

    >>> duration(7.31), duration(95.0), duration(None)
    ('7.3 s', '1 min 35 s', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory(num_bytes: float) -> str:
    """Bytes for a human.

    >>> memory(3.2e9)
    '3.2 GB'
    """
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def count(number: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "unit"), count(3, "unit")
    ('1 unit', '3 units')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
