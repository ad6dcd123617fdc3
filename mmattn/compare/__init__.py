"""Fair comparison of attention blocks in one network, and of finished trainings.

``run.compare`` trains a network with each of several blocks and without (``mmattn compare``).
What is random, and how it is held equal, is described in ``shared_config``, ``initial_weights`` and
``mmattn.data.datasets.seeded``; what may be concluded, in ``statistics``, and how often that is
wrong, in ``error_rate``. ``runs`` puts finished trainings side by side (``mmattn report``).
The package loads on first use, so that ``budget`` can be read without torch.
"""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "compare": "run",
        "replay": "repeat",
        "measure_error_rate": "repeat",
        "simulation_page": "error_rate",
        "compare_runs": "runs",
        "plot_values": "logged_values",
        "report_run": "logged_values",
        "write_logged_values": "logged_values",
    },
)
