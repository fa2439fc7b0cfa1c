"""Many runs: found, analysed under supervision, grouped, gathered.

`postmortem.batch` names this package and the function of the Python API: importing the one would hide the other, so the
package can be called.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postmortem.batch.run import Finished


class _CallableModule(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> "Finished":
        """`postmortem.batch.run.batch`."""
        from postmortem.batch.run import batch

        return batch(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
