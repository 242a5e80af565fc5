"""The models of a checkout, `models/` beside this package, by the name that they have in a wheel.

A wheel holds the folder itself as `gradtx/models/` in the place of this file.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models import *  # noqa: F403
else:
    folder = Path(__file__).parents[1] / "models"
    spec = spec_from_file_location(
        __name__, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    # The import system hands out what stands under the name when this file has run.
    sys.modules[__name__] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
