"""Pickles made to do harm, and the files around them: shared by the tests of the interpreter, of readers and of the command line.

The ideas of the last three groups are those of public scanners' own test suites (picklescan, fickling, modelscan).
"""

import functools
import io
import os
import pickle
import struct
import zipfile


class Calls:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def short(text):
    return b"\x8c" + bytes([len(text)]) + text


def body(value):
    """A pickle without its head and its end marker, to be put into another."""
    return pickle.dumps(value, 2)[2:-1]


def saved(pickled, members=(), name="m", compression=zipfile.ZIP_STORED):
    """A torch zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr(f"{name}/data.pkl", pickled)
        archive.writestr(f"{name}/version", "3\n")
        for member, data in members:
            archive.writestr(f"{name}/{member}", data)
    return out.getvalue()


def tensor(key=b"0", count=4, shape=(2, 2), strides=(2, 1), offset=0):
    """The pickle of one float tensor on storage `key`."""

    def numbers(values):
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", v) for v in values) + b"t"

    pid = b"(\x8c\x07storagectorch\nFloatStorage\n" + short(key) + b"\x8c\x03cpu\x8a\x08" + struct.pack("<q", count) + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"\x8a\x08" + struct.pack("<q", offset) + numbers(shape) + numbers(strides) + b"\x89}tR"


def with_tensor(payload):
    """A state dict with one good tensor beside a payload."""
    return b"\x80\x02}(\x8c\x06weight" + tensor() + b"\x8c\x05extra" + payload + b"u."


STORAGE = [("data/0", struct.pack("<4f", 1, 2, 3, 4))]


def called(module, name, *args):
    """A call of a global, which need not exist here, with texts."""
    return short(module.encode()) + short(name.encode()) + b"\x93(" + b"".join(short(arg.encode()) for arg in args) + b"tR"


JOINED = b"cbuiltins\ngetattr\n(" + short(b"") + short(b"join") + b"tR"  # "".join, by which names are put together

# What is put at a value's place, and the name that the report gives; "" where the report cannot know.
PAYLOADS = {
    "os.system": (b"cos\nsystem\n(S'touch pwned'\ntR", "os.system"),
    "posix.system": (body(Calls(os.system, "touch pwned")), "posix.system"),
    "eval": (b"cbuiltins\neval\n(S'open(\"pwned\",\"w\")'\ntR", "builtins.eval"),
    "exec by Python 2's name": (b"c__builtin__\nexec\n(S'1'\ntR", "builtins.exec"),
    "INST": (b"(S'touch pwned'\nios\nsystem\n", "os.system"),
    "OBJ": (b"(cos\nsystem\nS'touch pwned'\no", "os.system"),
    "NEWOBJ": (b"csubprocess\nPopen\nU\x05touch\x85\x81", "subprocess.Popen"),
    "NEWOBJ_EX": (b"csubprocess\nPopen\n)}\x92", "subprocess.Popen"),
    "STACK_GLOBAL": (short(b"os") + short(b"system") + b"\x93" + short(b"touch pwned") + b"\x85R", "os.system"),
    "getattr chain": (b"cbuiltins\ngetattr\ncbuiltins\n__import__\n" + short(b"os") + b"\x85R" + short(b"system") + b"\x86R" + short(b"x") + b"\x85R", "builtins.__import__"),
    "getattr alone": (b"cbuiltins\ngetattr\n" + short(b"x") + short(b"__class__") + b"\x86R", "builtins.getattr"),
    "getattr handed over": (b"cfunctools\npartial\ncbuiltins\ngetattr\n\x85R", "builtins.getattr"),
    "copyreg": (b"ccopy_reg\nadd_extension\n(S'os'\nS'system'\nI1\ntR", "copyreg.add_extension"),
    "extension code": (b"\x82\x01", "copyreg.extension.1"),
    "pickle in pickle": (body(Calls(pickle.loads, pickle.dumps(Calls(os.system, "touch pwned")))), "pickle.loads"),
    "socket": (b"csocket\ncreate_connection\n((S'127.0.0.1'\nI1\nttR", "socket.create_connection"),
    "a module of the run": (b"cpostmortem_evil\nrun\n)R", ""),
    "urlopen": (b"curllib.request\nurlopen\n(S'http://127.0.0.1:1/'\ntR", "urllib.request.urlopen"),
    "webbrowser": (b"cwebbrowser\nopen\n(S'http://127.0.0.1'\ntR", "webbrowser.open"),
    "runpy": (b"crunpy\nrun_path\n(S'postmortem_evil.py'\ntR", "runpy.run_path"),
    "numpy's runstring": (b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR", "numpy.testing._private.utils.runstring"),
    "torch.hub": (b"ctorch.hub\nload\n(S'x/y'\nS'z'\ntR", "torch.hub.load"),
    "torch.load": (b"ctorch.serialization\nload\n(S'other.pt'\ntR", "torch.serialization.load"),
    "BUILD with a hostile state": (b"c__main__\nNet\n)\x81}S'__setstate__'\ncos\nsystem\nsb", "os.system"),
    "a partial of it": (body(functools.partial(os.system, "touch pwned")), "posix.system"),
    "a key": (b"}cos\nsystem\nI1\ns", "os.system"),
    "behind a memo": (b"cos\nsystem\np7\n0g7\n(S'x'\ntR", "os.system"),
    "in a rebuild's argument": (b"ctorch._utils\n_rebuild_tensor_v2\n(cos\nsystem\nI0\n((tR", "os.system"),
    # hidden from who looks for names
    "a dotted name": (short(b"random") + short(b"_os.system") + b"\x93" + short(b"x") + b"\x85R", "random._os.system"),
    "a dotted name of a harmless module": (called("pathlib", "os.system", "touch pwned"), "pathlib.os.system"),
    "a module held by another": (called("__future__", "_ssl.RAND_bytes", "1"), "__future__._ssl.RAND_bytes"),
    "a call whose result is dropped": (b"(" + short(b"smtplib") + short(b"SMTP") + b"\x93" + short(b"127.0.0.1") + b"o0N", "smtplib.SMTP"),
    "a computed name": (JOINED + b"((" + short(b"o") + short(b"s") + b"ttR" + JOINED + b"((" + short(b"sys") + short(b"tem") + b"ttR\x93" + short(b"x") + b"\x85R", "pickle.STACK_GLOBAL"),
    "a frame that ends within an argument": (b"\x95" + struct.pack("<Q", 2) + b"B\x14\0\0\0" + b"cos\nsystem\n".ljust(20), "pickle.FRAME"),
    "texts of protocol 0, remembered": (b"Vos\np2\n0Vsystem\np3\n0g2\ng3\n\x93(Vtouch pwned\ntR", "os.system"),
    # functions of the standard library that run something in the end
    "pty": (called("pty", "spawn", "id"), "pty.spawn"),
    "marshal": (called("marshal", "loads", "x"), "marshal.loads"),
    "a function of bytes": (called("types", "FunctionType", "x"), "types.FunctionType"),
    "cProfile": (called("cProfile", "run", "1"), "cProfile.run"),
    "trace": (called("trace", "Trace.run", "1"), "trace.Trace.run"),
    "ctypes": (called("ctypes", "CDLL", "x.so"), "ctypes.CDLL"),
    "pydoc": (called("pydoc", "pipepager", "x", "id"), "pydoc.pipepager"),
    "code": (called("code", "InteractiveInterpreter.runcode", "1"), "code.InteractiveInterpreter.runcode"),
    "multiprocessing": (called("multiprocessing.util", "spawnv_passfds", "x"), "multiprocessing.util.spawnv_passfds"),
    "methodcaller": (called("operator", "methodcaller", "system"), "operator.methodcaller"),
    "distutils": (called("distutils.file_util", "write_file", "pwned"), "distutils.file_util.write_file"),
    "FileIO": (called("_io", "FileIO", "pwned", "w"), "_io.FileIO"),
    "a log file": (called("logging", "FileHandler", "pwned"), "logging.FileHandler"),
    "asyncio": (called("asyncio.unix_events", "_UnixSubprocessTransport._start", "id"), "asyncio.unix_events._UnixSubprocessTransport._start"),
    "lib2to3": (called("lib2to3.pgen2.grammar", "Grammar.loads", "x"), "lib2to3.pgen2.grammar.Grammar.loads"),
    "uuid": (called("uuid", "_get_command_stdout", "id"), "uuid._get_command_stdout"),
    "what finds out about AIX": (called("_aix_support", "_read_cmd_output", "id"), "_aix_support._read_cmd_output"),
    "what finds out about macOS": (called("_osx_support", "_read_output", "id"), "_osx_support._read_output"),
    "a pager": (called("_pyrepl.pager", "pipe_pager", "x", "id"), "_pyrepl.pager.pipe_pager"),
    "Python's own tests": (called("test.support.script_helper", "assert_python_ok", "-c"), "test.support.script_helper.assert_python_ok"),
    "imaplib": (called("imaplib", "IMAP4_stream", "id"), "imaplib.IMAP4_stream"),
    "idlelib": (called("idlelib.run", "Executive.runcode", "1"), "idlelib.run.Executive.runcode"),
    # … and of packages that are there beside a training
    "requests": (called("requests.api", "get", "http://127.0.0.1:1"), "requests.api.get"),
    "numpy.f2py": (called("numpy.f2py.crackfortran", "getlincoef", "1"), "numpy.f2py.crackfortran.getlincoef"),
    "torch._inductor": (called("torch._inductor.codecache", "compile_file", "", ""), "torch._inductor.codecache.compile_file"),
    "torch's profiler": (called("torch.utils.bottleneck.__main__", "run_cprofile", "1"), "torch.utils.bottleneck.__main__.run_cprofile"),
    "torch._dynamo": (called("torch._dynamo.guards", "GuardBuilder.get", "1"), "torch._dynamo.guards.GuardBuilder.get"),
    "torch.fx": (called("torch.fx.experimental.symbolic_shapes", "ShapeEnv.evaluate_guards_expression", "1"), "torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression"),
    "a graph that brings its code": (called("torch.fx.graph_module", "reduce_graph_module", "1"), "torch.fx.graph_module.reduce_graph_module"),
    "torch's settings": (called("torch.utils._config_module", "ConfigModule.load_config", "x"), "torch.utils._config_module.ConfigModule.load_config"),
    "torch's decoders": (called("torch.utils.data.datapipes.utils.decoder", "basichandlers", "pickle"), "torch.utils.data.datapipes.utils.decoder.basichandlers"),
    "cloudpickle": (called("cloudpickle.cloudpickle", "_make_function", "x"), "cloudpickle.cloudpickle._make_function"),
    "dill": (called("dill._dill", "_create_code", "x"), "dill._dill._create_code"),
}  # fmt: skip
# What cannot stand within another pickle: whole ones.
WHOLE = {
    "as a persistent id": (b"cos\nsystem\nQ.", "os.system"),
    "cut off after it": (b"cos\nsystem\n(S'x", "os.system"),
    "an unknown instruction after it": (b"cos\nsystem\n\xff", "os.system"),
}
