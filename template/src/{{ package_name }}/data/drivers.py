"""What the libraries behind an address raise: whose fault it is, and which package to add where one is missing."""

from .. import credentials
from ..settings import ProjectError

# The packages whose name is not that of the module in them.
PACKAGES = {
    "MySQLdb": "mysqlclient",
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "smbclient": "smbprotocol",
}
# The packages of SQLAlchemy's dialects that SQLAlchemy does not bring itself.
DIALECTS = {"duckdb": "duckdb-engine"}


def hint(error: BaseException) -> str:
    """Return the command that adds the package which an error misses; "" when it is about something else."""
    cause = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else error
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        module = cause.name.partition(".")[0]
        return f"uv add {PACKAGES.get(module, module.replace('_', '-'))}"
    dialect = str(error).partition("sqlalchemy.dialects:")[2].partition(".")[0]
    return f"uv add {DIALECTS[dialect]}" if dialect in DIALECTS else ""


def is_outside(error: Exception) -> bool:
    """Tell whether an error is one of the world outside, such as a refused login, and no bug of the project.

    A storage's library has errors of its own, which no common class has: botocore's, Google's, Azure's.
    """
    if isinstance(error, OSError | ValueError | ImportError):
        return True
    return not isinstance(error, ProjectError) and type(error).__module__ != "builtins"


def reason(error: Exception) -> str:
    """Return the first line of what an error says, or its kind where it says nothing.

    It is masked while it is whole: half a secret would not be known.
    """
    text = credentials.mask(str(error))
    return next(iter(text.strip().splitlines()), type(error).__name__)
