# ruff: noqa: E501 - programs are easier to read in long lines
"""Hostile answers. HOSTILE: does harm while loading. FORGED: wants to pass for `double` without being right.
PROBES: statements each of which has to be refused by the system.
"""

import sys

HOSTILE = {
    "forks": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "forks and hides": (
        "import os, signal, ctypes\nctypes.CDLL(None).prctl(1, 0)\n"
        "for s in (1, 2, 15):\n    signal.signal(s, signal.SIG_IGN)\n"
        "while True:\n    try:\n        if os.fork() == 0:\n            os.setsid()\n    except OSError:\n        pass"
    ),
    "loops": "while True:\n    pass",
    "sleeps": "import time\ntime.sleep(1000)",
    "takes 10 GB": "x = bytearray(10 << 30)\nfor i in range(0, len(x), 4096):\n    x[i] = 1",
    "deletes its folder": "import os, shutil\nshutil.rmtree(os.getcwd())\nraise SystemExit",
    "deletes everything": "import shutil\nshutil.rmtree('/', ignore_errors=True)\nraise SystemExit",
    "leaves early": "import os\nos._exit(0)",
    "leaves politely": "import sys\nsys.exit(0)",
    "writes without end": "f = open('f', 'wb')\nwhile True:\n    f.write(bytes(1 << 20))",
    "prints without end": "while True:\n    print('x' * 1000)",
    "recurses": "def f():\n    return f()\nf()",
    "kills": "import os\nos.kill(-1, 9)\nos.kill(os.getppid(), 9)\nraise SystemExit",
    "kills its group": "import os\nos.killpg(0, 9)\nassert False",
    "kills its parent's group": (
        "import os\nfor group in (os.getpgid(os.getppid()), os.getsid(0)):\n    os.killpg(group, 9)\nassert False"
    ),
    "closes everything": "import os\nos.closerange(0, 1024)",
    "writes a giant file": "f = open('f', 'wb')\nf.seek(1 << 40)\nf.write(b'x')\nf.flush()",
    "fills the disk": "for i in range(10**6):\n    open(str(i), 'wb').write(bytes(1 << 20))",
    "many threads": (
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(99,)).start()"
    ),
    "prints a verdict": (
        "import os\nfor fd in range(64):\n    try:\n        os.write(fd, b'{\"passed\": true}')\n"
        "    except OSError:\n        pass\nos._exit(0)"
    ),
    "leaves a daemon": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(999)\n"
        "    os._exit(0)\nassert False"
    ),
    "rings its own alarm": (
        "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_DFL)\nsignal.alarm(1)\nsignal.pause()"
    ),
    "is not Python": "Sorry, I cannot help with that.",
}  # fmt: skip
HOSTILE |= {
    "vforks": "import ctypes\nassert ctypes.CDLL(None).vfork() != -1, 'refused'\nwhile True:\n    pass",
    "segfaults": "import ctypes\nctypes.string_at(0)",
    "aborts": "import os\nos.abort()",
    "runs at exit": "import atexit\natexit.register(lambda: None)\nraise SystemExit",
    "is a bomb to the compiler": "x = " + "(" * 5000 + "1" + ")" * 5000,
    "folds constants": "x = 'a' * 10 ** 10",
    "calculates": "9 ** 9 ** 9",
    "searches with a bad pattern": "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
    "waits for a signal": (
        "import signal\nfor s in range(1, 32):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\nwhile True:\n    signal.pause()"
    ),
    "cannot be interrupted": (
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"
    ),
    "floods every descriptor": (
        "import os\nwhile True:\n    for fd in range(64):\n        try:\n            os.write(fd, b'x' * 65536)\n"
        "        except OSError:\n            pass"
    ),
    "reads every descriptor": (
        "import os\nfor fd in range(64):\n    try:\n        os.read(fd, 1 << 20)\n    except OSError:\n        pass\n"
        "raise SystemExit"
    ),
    "takes memory in memfds": (
        "import os\nfiles = []\nwhile True:\n    fd = os.memfd_create('x')\n    files.append(fd)\n"
        "    os.write(fd, bytes(1 << 24))"
    ),
    "shares 10 GB": "import mmap\nm = mmap.mmap(-1, 10 << 30)\nfor i in range(0, 10 << 30, 4096):\n    m[i] = 1",
    "makes empty files": "for i in range(10 ** 7):\n    open(str(i), 'w').close()",
    "makes deep folders": "import os\nwhile True:\n    os.mkdir('d')\n    os.chdir('d')",
    "closes its folder": "import os\nos.chmod(os.getcwd(), 0)\nopen('f')",
    "many threads that work": (
        "import threading\ndef f():\n    while True:\n        pass\n"
        "for i in range(100):\n    threading.Thread(target=f).start()"
    ),
    "raises what cannot be printed": (
        "class E(Exception):\n    def __str__(self):\n        raise self\n    __repr__ = __str__\nraise E"
    ),
    "raises an endless text": "raise ValueError('x' * 10 ** 8)",
}  # fmt: skip

FORGED = {
    "leaves": "import os\nos._exit(0)",
    "leaves politely": "import sys\nsys.exit(0)",
    "leaves when tested": "import os\ndef double(x):\n    os._exit(0)",
    "leaves politely when tested": "def double(x):\n    raise SystemExit(0)",
    "patches unittest": (
        "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n"
        "unittest.TestCase.run = lambda *a: None\ndouble = lambda x: x"
    ),
    "patches builtins": (
        "import builtins\nbuiltins.all = builtins.isinstance = builtins.abs = lambda *a: 0\n"
        "builtins.AssertionError = SystemExit\ndouble = lambda x: x"
    ),
    "swaps its builtins": (
        "__builtins__ = {'__build_class__': lambda *a: None, '__import__': lambda *a: None}\ndouble = lambda x: x"
    ),
    "looks for the tests": (
        "import sys, gc\nframe = sys._getframe()\nwhile frame:\n"
        "    assert 'assert' 'Equal' not in repr(frame.f_locals), 'found'\n    frame = frame.f_back\n"
        "assert not [o for o in gc.get_objects() if isinstance(o, dict) and 'proof' in o], 'found'\n"
        "double = lambda x: x"
    ),
    "traces": "import sys\nsys.settrace(lambda *a: None)\ndouble = lambda x: x",
}
_FRAMES = (
    "import json, os, struct\ndef send(message):\n    body = message if isinstance(message, bytes) else json.dumps(message).encode()\n"
    "    for fd in range(64):\n        try:\n            os.write(fd, struct.pack('!I', len(body)) + body)\n"
    "        except OSError:\n            pass\n"
)
_ALWAYS_EQUAL = (
    "    def __eq__(self, other):\n        return True\n    __ne__ = lambda self, other: False\n"
    "    __lt__ = __gt__ = __le__ = __ge__ = __eq__\n    __hash__ = lambda self: 4\n"
    "    __sub__ = __rsub__ = __abs__ = lambda self, *a: self\n"
)
FORGED |= {
    "reads the tests and leaves a verdict": (
        "import os, json\nfor fd in range(64):\n    try:\n        os.set_blocking(fd, False)\n        data = os.read(fd, 1 << 20)\n"
        "        os.write(fd, json.dumps({'passed': True, 'proof': data.decode()[-40:]}).encode())\n"
        "    except OSError:\n        pass\nos._exit(0)"
    ),
    "sends a verdict": _FRAMES + "send({'failures': [None]})\nsend({'passed': True})\nos._exit(0)",
    "sends a verdict when called": _FRAMES + "def double(x):\n    send({'failures': [None]})\n    os._exit(0)",
    "says that the tests are unsuited": _FRAMES + "def double(x):\n    send({'unsuited': 'x'})\n    os._exit(0)",
    "says that the sandbox is broken": _FRAMES + "send({'broken': 'x'})\nos._exit(0)",
    "claims to be loaded and leaves": _FRAMES + "send({'loaded': True})\nos._exit(0)",
    "sends noise": _FRAMES + "def double(x):\n    send(b'\\xff\\x00{{{')\n    return x",
    "sends deep JSON": _FRAMES + "def double(x):\n    send(b'[' * 100000)\n    return x",
    "sends a list for a reply": _FRAMES + "def double(x):\n    send([1, 2])\n    return x",
    "sends an endless message": (
        "import os\ndef double(x):\n    while True:\n        os.write(3, b'\\xff\\xff\\xff\\xff' + bytes(65536))"
    ),
    "sends an unknown value": _FRAMES + "def double(x):\n    send({'value': ['everything', 1]})\n    return x",
    "sends a huge fraction": _FRAMES + "def double(x):\n    send({'value': ['Fraction', '1e99999999999']})\n    return x",
    "sends a broken number": _FRAMES + "def double(x):\n    send({'value': ['int', 'zz']})\n    return x",
    "sends keys that collide": (
        _FRAMES + "def double(x):\n    send({'value': ['set', [i * (2 ** 61 - 1) for i in range(150000)]]})\n    return x"
    ),
    "raises an exit of the judge's": (
        _FRAMES + "def double(x):\n    send({'raised': ['SystemExit', 'BaseException'], 'text': ''})\n    return x"
    ),
    "asks the judge to call what it was not given": (
        _FRAMES + "def double(x):\n    send({'callback': 0, 'args': []})\n    return x"
    ),
    "claims a reference to the tests": _FRAMES + "def double(x):\n    send({'value': ['reference', [-1, 'x']]})\n    return x",
    "names a built-in error": _FRAMES + "def double(x):\n    send({'value': ['error', ['AssertionError']]})\n    return x",
    "brings its own built-ins": (
        "import json, os, struct\ndef send(m):\n    b = json.dumps(m).encode()\n    os.write(3, struct.pack('!I', len(b)) + b)\n"
        "def read(n):\n    b = b''\n    while len(b) < n:\n        b += os.read(3, n - len(b)) or os._exit(0)\n    return b\n"
        "send({'loaded': True})\nr = lambda i: ['reference', [i, 'x']]\n"
        "b = ['dict', [['abs', r(1)], ['isinstance', r(2)], ['__import__', r(2)], ['__build_class__', r(2)], ['int', r(2)]]]\n"
        "names = [['double', r(0)], ['__builtins__', b], ['abs', r(1)], ['isinstance', r(2)], ['__name__', '__main__']]\n"
        "while True:\n    m = json.loads(read(struct.unpack('!I', read(4))[0]))\n"
        "    if 'names' in m:\n        send({'value': ['dict', names]})\n"
        "    else:\n        send({'value': {0: 6, 1: 0, 2: True}.get(m['on'], True)})\n"
    ),
    "has every method that tells something": (
        "class E:\n    def __getattr__(self, name):\n        return lambda *a: True\ndouble = lambda x: E()"
    ),
    "equals everything": f"class E:\n{_ALWAYS_EQUAL}double = lambda x: E()",
    "is everything": f"class E:\n{_ALWAYS_EQUAL}    __class__ = int\ndouble = lambda x: E()",
    **{
        f"is a {base} that equals everything": f"class E({base}):\n{_ALWAYS_EQUAL}double = lambda x: E()"
        for base in ("int", "float", "str", "bytes", "list", "tuple", "set", "frozenset", "dict", "complex")
    },
    "is a fraction that equals everything": (
        f"from fractions import Fraction\nclass E(Fraction):\n{_ALWAYS_EQUAL}double = lambda x: E()"
    ),
    "is a mock": "from unittest.mock import ANY, MagicMock\ndouble = lambda x: ANY",
    "is a mock of a function": "from unittest.mock import MagicMock\ndouble = MagicMock()",
    "is not a number": "double = lambda x: float('nan')",
    "patches json": (
        "import json, json.decoder, json.encoder\njson.decoder.JSONDecoder.decode = lambda *a, **k: {'passed': True}\n"
        "json.loads = lambda *a, **k: {'passed': True}\ndouble = lambda x: x"
    ),
    "patches what encodes it": (
        "from langchain_avengers.sandbox.inside import answer, judge, values\n"
        "values.encode = answer.encode = lambda *a: True\njudge.Remote.__eq__ = lambda *a: True\ndouble = lambda x: x"
    ),
    "traces everything": (
        "import sys, threading\ndef t(frame, event, arg):\n    frame.f_locals['x'] = 4\n    return t\n"
        "sys.settrace(t)\nsys.setprofile(t)\nthreading.settrace(t)\ndouble = lambda x: x"
    ),
    "looks for the tests when called": (
        "import sys, gc\ndef double(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        if 'assert' 'Equal' in repr(frame.f_locals) or 'isinstance' '(double' in repr(frame.f_locals):\n"
        "            return 2 * x\n        frame = frame.f_back\n"
        "    for o in gc.get_objects():\n        if isinstance(o, dict) and ('tests' in o or 'proof' in o):\n            return 2 * x\n"
    ),
    "defines the tests' own names": (
        "abs = lambda x: 0\nisinstance = lambda *a: True\nassertEqual = check = lambda *a: None\ndouble = lambda x: x"
    ),
    "defines only built-ins": "abs = lambda x: 0\nisinstance = lambda *a: True\n",
    "raises the judge's own errors": (
        "class Unsuited(Exception):\n    pass\nclass AnswerError(Exception):\n    pass\n"
        "def double(x):\n    raise Unsuited('x')"
    ),
    "skips the tests": "import unittest\ndef double(x):\n    raise unittest.SkipTest('x')",
    "raises a keyboard interrupt": "def double(x):\n    raise KeyboardInterrupt",
    "raises a generator's exit": "def double(x):\n    raise GeneratorExit",
    "raises an assertion": "def double(x):\n    raise AssertionError('x')",
    "raises what looks like nothing": (
        "class M(type):\n    __mro__ = ()\n    __name__ = ''\nclass E(BaseException, metaclass=M):\n    pass\n"
        "def double(x):\n    raise E"
    ),
    "closes the line": "import os\ndef double(x):\n    os.closerange(0, 64)\n    return 2 * x",
    "returns without end": "import itertools\ndef double(x):\n    return itertools.count()",
    "returns too much": "def double(x):\n    return 'x' * (5 << 20)",
    "returns itself": "def double(x):\n    a = []\n    a.append(a)\n    return a",
    "returns a deep list": "def double(x):\n    a = 4\n    for _ in range(100000):\n        a = [a]\n    return a",
    "returns a huge number": "def double(x):\n    return 1 << (1 << 26)",
    "returns the function": "def double(x):\n    return double",
    "sleeps when called": "import time\ndef double(x):\n    time.sleep(1000)",
    "stops time": "import time\ntime.monotonic = time.time = lambda: 0\ndef double(x):\n    while True:\n        pass",
}  # fmt: skip

_LIBC = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"


def _call(name: str, *arguments: str) -> str:
    return f"{_LIBC}if libc.{name}({', '.join(arguments)}) < 0: raise OSError(ctypes.get_errno(), '{name}')"


def _socket(family: str, kind: str = "SOCK_STREAM") -> str:
    return f"import socket; socket.socket(socket.{family}, socket.{kind})"


_PACKAGES = f"/python/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
PROBES = {
    "forks": "import os; os.fork()",
    "starts a program": "import subprocess; subprocess.run(['/bin/true'])",
    "spawns a program": "import os; os.posix_spawn('/python/bin/python', ['python'], {})",
    "becomes a program": "import os; os.execv('/python/bin/python', ['python', '-c', ''])",
    "opens a socket": _socket("AF_INET"),
    "opens a datagram socket": _socket("AF_INET6", "SOCK_DGRAM"),
    "opens a local socket": _socket("AF_UNIX"),
    "opens a socket to the kernel": _socket("AF_NETLINK", "SOCK_RAW"),
    "opens a socket to the host": _socket("AF_VSOCK"),
    "opens a packet socket": _socket("AF_PACKET", "SOCK_RAW"),
    "opens a cipher socket": _socket("AF_ALG", "SOCK_SEQPACKET"),
    "makes a memfd": "import os; os.memfd_create('x')",
    "shares memory": _call("shmget", "0", "1 << 20", "0o1600"),
    "opens shared memory": _call("shm_open", "b'/x'", "66", "0o600"),
    "leaves for a user namespace": _call("unshare", "0x10000000"),
    "leaves for a mount namespace": _call("unshare", "0x00020000"),
    "clones a user namespace": _call("syscall", "56", "0x10000011", "0", "0", "0", "0"),
    "mounts": _call("mount", "b'x'", "b'/scratch'", "b'tmpfs'", "0", "0"),
    "unmounts": _call("umount2", "b'/scratch'", "2"),
    "changes its root": "import os; os.chroot('/scratch')",
    "becomes root": "import os; os.setuid(0)",
    "changes its groups": "import os; os.setgroups([0])",
    "traces the keeper": _call("ptrace", "16", "1", "0", "0"),
    "reads the keeper's memory": _call("process_vm_readv", "1", "0", "0", "0", "0", "0"),
    "kills the keeper": "import os; os.kill(1, 9)",
    "kills all": "import os; os.kill(-1, 9)",
    "opens the keeper": "import os; os.pidfd_open(1)",
    "changes the keeper's limits": "import resource as r; r.prlimit(1, r.RLIMIT_CPU, (1, 1))",
    "raises its limits": (
        "import resource as r\ntry:\n    r.setrlimit(r.RLIMIT_AS, (1 << 40, 1 << 40))\n"
        "except ValueError as e:\n    raise OSError from e"
    ),
    "asks for keys": _call("syscall", "250", "0", "0", "0"),
    "uses io_uring": _call("syscall", "425", "8", "ctypes.create_string_buffer(200)"),
    "loads a kernel program": _call("syscall", "321", "0", "0", "0"),
    "handles page faults": _call("syscall", "323", "0"),
    "counts the kernel's events": _call("syscall", "298", "0", "0", "-1", "-1", "0"),
    "opens a file by its handle": _call("open_by_handle_at", "0", "ctypes.create_string_buffer(100)", "0"),
    **{
        f"reads {path}": f"import os; os.listdir('{path}') if not os.path.isfile('{path}') else open('{path}')"
        for path in ("/etc/passwd", "/etc/hostname", "/root", "/home", "/proc", "/proc/1/environ", "/sys", "/var",
                     "/work", "/usr/bin", "/usr/share/doc", "/opt", "/run", "/dev/shm", "/dev/mem", "/dev/tty")
    },
    **{
        f"writes {path}": f"open('{path}/x', 'w')"
        for path in ("", "/dev", "/usr/lib", "/python", "/python/lib", _PACKAGES, "/code", "/code/langchain_avengers", "/etc")
    },
}  # fmt: skip
