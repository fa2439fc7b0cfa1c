from collections.abc import Iterator

import pytest

from tests.hostile.harness import Zygote, zygote


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """One that has imported everything, for all modules: it takes longer to start than most runs take."""
    with zygote(tmp_path_factory.mktemp("zygote")) as one:
        yield one
