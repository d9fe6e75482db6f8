"""Recurrent networks that show their gradients: RNN, GRU and LSTM in place of torch's, and what to ask of them.

Nothing is imported before a name is used (PEP 562), as the laboratory's stages import from this package too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from unrolled.library.measures import Norms, clip_grad_norm, lag_profile, lyapunov_spectrum, spectral_radius
    from unrolled.library.modules import GRU, LSTM, RNN
    from unrolled.library.trained import load

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Norms",
    "clip_grad_norm",
    "lag_profile",
    "load",
    "lyapunov_spectrum",
    "spectral_radius",
]

_PLACES = {
    "GRU": "modules",
    "LSTM": "modules",
    "RNN": "modules",
    "Norms": "measures",
    "clip_grad_norm": "measures",
    "lag_profile": "measures",
    "load": "trained",
    "lyapunov_spectrum": "measures",
    "spectral_radius": "measures",
}


def _version() -> str:
    """Of the package as it is installed; of a checkout that is merely on the path, none is known."""
    from importlib.metadata import PackageNotFoundError, version  # 0.03 s that each stage would wait for

    try:
        return version("unrolled")
    except PackageNotFoundError:
        return "unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # or a type checker would take any name for one of these

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return _version()
        if name not in _PLACES:
            raise AttributeError(f"module 'unrolled' has no attribute {name!r}; it has {', '.join(__all__)}")
        found = getattr(import_module(f"unrolled.library.{_PLACES[name]}"), name)
        globals()[name] = found
        return found
