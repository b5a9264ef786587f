"""What goes wrong with data, in one line that names the dataset, what was found and what would do."""


class DataError(ValueError):
    """Data that cannot be used as asked."""
