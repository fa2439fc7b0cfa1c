"""Which globals have no business in a checkpoint.

Nothing of them is ever run here, so this list protects nobody: it decides what a report says about a file that somebody
else may load with `torch.load`. It is kept short of everything that honest checkpoints hold: a pickled `nn.Module`, an
`argparse.Namespace`, a bound method (`getattr(object, "name")`), an enum, a `functools.partial` of a layer.
"""

import sys


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Of Python's own library, modules whose objects honest checkpoints hold. All others can do something, or know someone who can.
_PLAIN = _listed(
    """
    builtins __future__ collections _collections _collections_abc datetime _datetime _strptime decimal _decimal _pydecimal fractions enum
    functools _functools itertools operator _operator pathlib types _types typing uuid argparse optparse copyreg codecs _codecs re sre_compile
    _sre random _random abc _abc dataclasses weakref _weakref logging array string _string ipaddress zoneinfo time calendar numbers math cmath
    statistics contextlib copy io _io heapq bisect queue _queue threading _thread multiprocessing concurrent signal site platform struct
    base64 zlib hashlib json warnings textwrap configparser csv html locale unicodedata xml pprint reprlib selectors errno secrets
    """
)
_REMOVED_OR_NEW = _listed("popen2 commands imp cPickle distutils lib2to3 httplib urllib2 telnetlib test _pyrepl asynchat asyncore smtpd cgi pipes")
_LIBRARY = (sys.stdlib_module_names | _REMOVED_OR_NEW) - _PLAIN
# A module of others is dangerous with everything below it.
_MODULES = _listed(
    """
    pip setuptools requests httpx aiohttp urllib3 joblib copyreg.extension
    numpy.f2py numpy.distutils numpy.testing torch.hub torch.utils.cpp_extension torch.utils.collect_env torch.distributed.rpc
    torch._inductor torch._dynamo torch.fx.experimental torch.fx.graph_module torch.utils.bottleneck torch.utils._config_module
    torch.utils.data.datapipes.utils torch.jit.unsupported_tensor_ops torch.package
    """
)
# Single names, by full name.
_NAMES = _listed(
    """
    builtins.eval builtins.exec builtins.execfile builtins.compile builtins.open builtins.file builtins.__import__ builtins.input
    builtins.breakpoint builtins.globals builtins.locals builtins.vars builtins.setattr builtins.delattr builtins.apply
    builtins.exit builtins.quit builtins.help builtins.map builtins.filter builtins.reload builtins.__build_class__
    io.open io.open_code io.FileIO _io.open _io.open_code _io.FileIO codecs.open pathlib.Path.write_text
    operator.attrgetter operator.methodcaller operator.call _operator.attrgetter _operator.methodcaller _operator.call
    types.CodeType types.FunctionType types.ModuleType types.LambdaType site.execsitecustomize platform.popen uuid._get_command_stdout
    signal.signal signal.raise_signal threading.Thread multiprocessing.Process multiprocessing.util.spawnv_passfds
    copyreg.add_extension copyreg.pickle copyreg.constructor
    torch.load torch.serialization.load torch.serialization._load torch.serialization._legacy_load torch.jit.load
    torch.storage._load_from_file torch.utils._config_module.load_config
    numpy.load numpy.fromfile numpy.memmap numpy.loadtxt numpy.genfromtxt numpy.save numpy.lib.npyio.load numpy.core.memmap.memmap
    numpy._core.memmap.memmap pandas.read_pickle pandas.io.pickle.read_pickle pandas.eval pandas.core.computation.eval.eval
    yaml.load yaml.unsafe_load yaml.full_load dill.loads dill.load dill._dill._import_module dill._dill._eval_repr
    dill._dill._create_code cloudpickle.loads cloudpickle.load
    cloudpickle.cloudpickle._make_function cloudpickle.cloudpickle._builtin_type logging.config.listen
    logging.FileHandler logging.handlers.SocketHandler
    """
)
# Modules and functions by the name under which another module may hold them: "random._os.system", "torch.os".
_ATTRIBUTES = _listed(
    """
    os _os posix sys _sys subprocess builtins __builtins__ importlib shutil socket ctypes runpy pty
    system popen Popen check_output check_call getoutput getstatusoutput spawn spawnl spawnv execv execve execl execvp fork forkpty
    eval exec __import__ __globals__ __subclasses__ __getattribute__ __reduce__ __reduce_ex__ __code__ __closure__ __loader__ __mro__
    __bases__ __base__ __builtins__ runstring import_module
    """
)
# Inside a dangerous module, and harmless.
_HARMLESS = _listed(
    """
    os.PathLike os.stat_result os.terminal_size os.path.join posix.stat_result inspect._empty inspect.Parameter inspect.Signature
    inspect._ParameterKind http.HTTPStatus sys.float_info sys.version_info importlib.metadata.PackageNotFoundError
    numpy.testing.assert_allclose
    """
)
# torch.nn holds `eval` as a method; a bound method is pickled through getattr, where plain names are judged by this list.
_METHODS = _ATTRIBUTES - {"eval", "spawn", "os", "sys"}


def dangerous(module: str, name: str) -> bool:
    """True when a global of that name in a checkpoint is a sign of an attack. `builtins.getattr` is judged by its arguments."""
    full = f"{module}.{name}"
    if full in _HARMLESS:
        return False
    parts = name.split(".")
    if full in _NAMES or any(part in _ATTRIBUTES for part in parts) or any(part in _LIBRARY for part in parts[:-1]):
        return True
    if module.partition(".")[0] in _LIBRARY:
        return True
    at = full.find(".")
    while at >= 0:
        if full[:at] in _MODULES:
            return True
        at = full.find(".", at + 1)
    return False


def dangerous_attribute(name: object) -> bool:
    """True when `getattr(anything, name)` is a step towards running code, rather than a bound method or an enum's member."""
    return not isinstance(name, str) or name in _METHODS or (name.startswith("__") and name != "__call__")
