"""Lines that tell of a process's death: memory, hardware, disks, schedulers, collectives, signals."""

from postmortem.model.run import EventKind
from postmortem.sources.logs.rules import rule

_K = EventKind
SIZE = r"Tried to allocate (?P<asked>[\d.]{1,20} ?[KMGT]?i?B)"
CAPACITY = r"(?P<capacity>[\d.]{1,20} ?[KMGT]?i?B) total capacity|total capacity of (?P<capacity2>[\d.]{1,20} ?[KMGT]?i?B)"

# Programs beside a training; a shell tells which one was killed.
_OTHER_PROGRAM = (
    r"(?:\S{1,200}/)?(?:uvicorn|gunicorn|hypercorn|tensorboard|jupyter\S{0,20}|nginx|redis-server|streamlit|gradio|ollama|node|npm|sleep|tail|watch|"
    r"nvidia-smi|wget|curl|rsync|scp|cp|tar|zip|unzip|ssh|Xvfb|mlflow|ray)\b"
)
# What shells put before the name of the signal that a program died of.
_SHELL = (
    r"^(?:\S{1,200}: line \d{1,6}:\s{1,8}\d{1,9} {1,8}|zsh: |\[\d{1,3}\][+-]?\s{1,8}(?:[+-] )?(?:\d{1,9}\s{1,8})?|"
    r"srun: error: \S{1,80}: tasks? [\d,-]{1,60}: )"
)
_GLOG = r"^F\d{4} \d\d:\d\d:\d\d\.\d{3,9} {1,8}\d{1,20} \S{1,200}:\d{1,6}\] "  # Google's logging, of the line that ends the program

MEMORY = (
    rule(_K.WARNING, "from oom|oom: ran|ran oom", r"attempting to recover from OOM|OOM: Ran out of memory with exception|ran OOM .{0,40}(?:retry|"
        r"skipp)", about="oom-recovered"),
    rule(_K.OUT_OF_MEMORY, "bad_alloc|java heap|memory allocation of|malloc of size|paging file is too small",
        r"^(?!.{0,200}(?:cuda|CUDA)).{0,200}\bbad_alloc\b|OutOfMemoryError: (?:Java heap|unable to create)|"
        r"^memory allocation of \d{1,20} bytes failed|"
        r"malloc of size \d{1,20} failed|The paging file is too small", where="host"),
    rule(_K.OUT_OF_MEMORY, "cuda failure", r"NCCL WARN Cuda failure '?(?:2 )?'?out of memory", where="device"),
    rule(_K.OUT_OF_MEMORY, "out of memory|runtime error (2)|memoryallocation|erroroutofmemory|error_out_of_memory|error_outofmemory|(2 vs. 0)|"
        "out of gpu memory",
        r"(?:CUDA|HIP|XPU|NPU|MLU|MPS backend|hip) out of memory|cuda(?:ErrorMemoryAllocation| runtime error \(2\))|"
        r"(?:CUDA [Ee]rror(?: 2)?:?|error=2 :|cudaMalloc failed:|cuMemAlloc failed:|CUDA:) '?out of memory|CUDA_ERROR_OUT_OF_MEMORY|"
        r"hipErrorOutOfMemory|HIP_ERROR_OutOfMemory|cudaSuccess \(2 vs\. 0\)|Out of GPU memory|Out of memory error on GPU", where="device"),
    rule(_K.OUT_OF_MEMORY, "alloc_failed|memory not available to allocate|tensor is not initialized",
        r"(?:CUBLAS|CUDNN|CUFFT|CUSPARSE|CUSOLVER)(?:_STATUS)?_ALLOC_FAILED|Memory not available to allocate buffer|Dst tensor is not initialized",
        where="device"),
    rule(_K.OUT_OF_MEMORY, "running low on memory|due to memory pressure", r"killed due to (?:the node running low on memory|"
        r"memory pressure)", where="host"),
    rule(_K.OUT_OF_MEMORY, "resource_exhausted|resource exhausted|oom when|outofmemoryerror|ran out of memory in|resourceexhaustederror",
        r"(?:RESOURCE_EXHAUSTED|Resource exhausted): (?:Out of memory|Ran out of|Attempting to (?:reserve|allocate)|Failed to allocate|XLA:TPU|"
        r"Error loading)|"
        r"Ran out of memory in memory space|OOM when allocating tensor|OutOfMemoryError(?::|\(\))|"
        r"ResourceExhaustedError: .{0,300}[Ff]ailed to allocate", where="device"),
    rule(_K.OUT_OF_MEMORY, "oom-kill|oom_kill|oom killed|oomkilled|out of memory|not enough memory|can't allocate|memoryerror|cannot allocate",
        r"oom-kill\b|oom_kill|invoked oom-killer|OOM Killed|OOMKilled|[Oo]ut of memory: Kill(?:ed)? process|"
        r"task \d{1,6}: Out Of Memory|DefaultCPUAllocator: (?:not enough memory|can't allocate memory)|Torch: not enough memory: you tried|"
        r"^(?:[\w.]{1,120}[._])?_?(?:Array)?MemoryError\b|Cannot allocate memory", where="host"),
    rule(_K.OUT_OF_MEMORY, "memory limit|exceeded limit|memory usage limit|available ram|memory than is available",
        r"exceeded memory limit|Exceeded (?:job|step) memory limit|job killed: (?:v?mem|pv?mem) .{1,60}exceeded limit|"
        r"reaching LSF memory usage limit|crashed after using all available RAM|tried to allocate more memory than is available", where="host"),
)  # fmt: skip
LOADER = (
    rule(_K.DATA_LOADER, "dataloader worker|"
        "dataloader process", r"DataLoader process \(pid \d{1,9}\) exited is killed by signal: (?P<signal2>[A-Za-z ]{3,30})|"
        r"DataLoader worker \(pid(?:\(s\))? [\d, ]{1,60}\) (?:is killed by signal: "
        r"(?P<signal>[A-Za-z ]{3,30}?)(?:\.|$)|exited unexpectedly)|DataLoader worker exited unexpectedly"),
    rule(_K.DATA_LOADER, "bus error|shared memory|</torch_", r"Unexpected bus error encountered in worker|insufficient shared memory \(shm\)|"
        r"unable to (?:write to file|open shared memory object) </torch_", about="shared-memory"),
    rule(_K.DATA_LOADER, "encountered in worker|dataloader timed out", r"^ERROR: Unexpected .{3,40} encountered in worker|"
        r"DataLoader timed out after \d{1,9} seconds"),
)  # fmt: skip
DEVICES = (
    rule(_K.HARDWARE, "uncorrectable|nvrm: xid|xid (pci|off the bus|error: hardware|due to node failure|nvlink|gpu is lost|device handle for|"
        "hw exception",
        r"uncorrectable (?:NVLink |ECC )?(?:ECC )?error|NVRM: Xid|\bXid \(PCI|fallen off the bus|"
        r"cudaErrorECCUncorrectable|CUDA error: hardware|DUE TO NODE FAILURE|NVLink error|GPU is lost|"
        r"Unable to determine the device handle for GPU|^HW Exception by GPU node"),
    rule(_K.DEVICE_ASSERT, "assertion", r"block: \[\d{1,10},\d{1,10},\d{1,10}\], "
        r"thread: \[\d{1,6},\d{1,6},\d{1,6}\] Assertion .(?P<assertion>.{1,200}?). failed"),
    rule(_K.DEVICE_ASSERT, "device-side assert", r"device-side assert triggered"),
    rule(_K.DISK_FULL, "no space left|disk quota|errno 28|writing file|not enough disk space",
        r"^(?!.{0,1500}inotify)(?:.{0,1500}?)(?:No space left on device|[Dd]isk quota exceeded|\[?Errno 28\]?|"
        r"PytorchStreamWriter failed writing file|Not enough disk space)"),  # a table of inotify watches is full, not a disk
)  # fmt: skip
SCHEDULERS = (
    rule(_K.TIME_LIMIT, "due to time limit|walltime|wallclock|run time limit|job is timed-out",
        r": this job is timed-out|CANCELLED AT \S{1,40} DUE TO TIME LIMIT|DUE TO TIME LIMIT|job killed: walltime|exceeded (?:hard )?wallclock|"
        r"reaching LSF run time limit"),
    rule(_K.PREEMPTED, "preempt|interruption notice|due to job requeue",
        r"CANCELLED AT \S{1,40} DUE TO PREEMPTION|DUE TO PREEMPTION|[Pp]reemption (?:notice|signal) received|DUE TO JOB REQUEUE|"
        r"was preempted|is being preempted|: this job is preempted|[Rr]eceived (?:a )?preemption|job killed after preemption|"
        r"[Ii]nterruption notice received|"
        r"Bypassing signal SIGTERM.{0,40}preempt"),
    rule(_K.KILLED, "cancelled", r"slurmstepd(?:-[\w.-]{1,60})?: error: \*\*\* (?:JOB|STEP) [\d._]{1,30} ON \S{1,80} CANCELLED AT", by="slurm"),
    rule(_K.KILLED, "job killed by owner", r"TERM_OWNER: job killed by owner", by="owner"),
)  # fmt: skip
COLLECTIVES = (
    # of a kernel that failed, the watchdog is the first to hear
    rule(_K.EXCEPTION, "watchdog",
        r"watchdog thread terminated with exception: (?:\[Rank \d{1,6}\] )?(?P<message>CUDA error: (?!.{0,40}NCCL).{1,300})",
        exception="RuntimeError"),
    rule(_K.COLLECTIVE, "watchdog", r"Watchdog caught collective operation timeout: "
        r"WorkNCCL\(SeqNum=(?P<sequence>\d{1,20}), OpType=(?P<operation>\w{1,40})", about="timeout"),
    rule(_K.HANG, "watchdog|heartbeat monitor|timed out", r"watchdog got stuck for (?P<seconds>\d{1,9}) seconds|[Hh]eartbeat monitor timed out|"
        r"[Tt]imed out waiting for (?:the )?(?:barrier|rank)"),
    rule(_K.HANG, "may hang in", r"\bkernel\b.{1,80}\bmay hang in\b", about="suspected"),
    rule(_K.HANG, "in store based barrier",
        r"Waiting in store based barrier .{0,200}(?=\(world_size=)(?!\(world_size=(\d{1,6}), (?:worker_count|num_workers_joined)=\1\b)",
        about="waiting"),
    rule(_K.HANG, "completed store-based barrier", r"Completed store-based barrier", about="passed"),
    rule(_K.COLLECTIVE, "watchdog", r"Process group watchdog thread terminated with exception|NCCL watchdog thread terminated with exception|"
        r"Exception \(either an error or timeout\) detected by watchdog|Watchdog caught collective oper", about="watchdog"),
    rule(_K.COLLECTIVE, "nccl operations|data inconsistency|at nccl work|timeout signal|collective timeout|mismatch between collectives|"
        "detected by watchdog at",
        r"Some NCCL operations have failed or timed out|To avoid data inconsistency, we are taking the entire process down|Timeout at NCCL work:|"
        r"failure detected by watchdog at work|due to a collective timeout from|Received a timeout signal from this local rank|"
        r"due to collective timeout or exception|"
        r"Detected mismatch between collectives", about="timeout"),
    rule(_K.COLLECTIVE, "nccl|distbackend|unhandled|horovod", r"nccl(?:Remote|System|Internal|UnhandledCuda|InvalidUsage)Error|NCCL error in:|"
        r"NCCL communicator was aborted|DistBackendError|unhandled (?:system|cuda) error|HorovodInternalError", about="nccl"),
    rule(_K.COLLECTIVE, "nccl warn|gloo|socketprogress|socket timeout|reset by peer|broken pipe|distnetworkerror|diststoreerror",
        r"NCCL WARN .{0,200}(?:[Cc]onnection (?:closed|reset)|closing connection|message truncated|[Tt]imeout|[Ff]ailed|[Uu]nhandled)|"
        r"[Gg]loo.{0,100}(?:[Cc]onnection closed|[Tt]imed out|[Rr]ead error)|"
        r"socketProgress\w{0,10}: .{0,120}Connection reset|^RuntimeError: (?:Socket Timeout|Connection reset by peer|Broken pipe)\s*$|"
        r"Dist(?:Network|Store)Error: (?!.{0,20}server socket)", about="connection"),
)  # fmt: skip
PROCESSES = (
    rule(_K.EXCEPTION, ".py: error", r"^[\w./-]{1,200}\.py: error: (?P<message>.{1,300})",
        exception="SystemExit"),  # the arguments were not understood
    rule(_K.EXCEPTION, ": success", r"^Error: (?P<message>.{1,300}): Success\b", exception="Error"),  # darknet
    rule(_K.EXCEPTION, "] check failed", _GLOG + r"(?P<message>Check failed: .{1,300})", exception="Fatal"),
    rule(_K.EXCEPTION, ": f ", r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3,9}: F \S{1,200}:\d{1,6}\] (?P<message>.{1,300})", exception="Fatal"),
    rule(_K.EXCEPTION, "error (|assertion_failed (",
        r"^(?:ERROR|ASSERTION_FAILED) \([\w-]{1,60}\[[^\]]{1,40}\]:\S{1,200}:\d{1,6}\) (?P<message>.{1,300})", exception="KaldiFatalError"),
    rule(_K.EXCEPTION, "thcudacheck fail", r"^THCudaCheck FAIL .{1,200} error=\d{1,4} : (?P<message>.{1,200})", exception="CudaError"),
    rule(_K.EXCEPTION, "memory access fault", r"^(?P<message>Memory access fault by GPU node.{1,200})", exception="MemoryAccessFault"),
    rule(_K.EXCEPTION, "uncaught exception", r"^libc\+\+abi(?:\.dylib)?: terminating (?:with|"
        r"due to) uncaught exception of type (?P<exception>[\w:]{1,80})"
        r"(?:: (?P<message>.{1,300}))?"),
    rule(_K.EXCEPTION, "assertion", r"^\S{1,100}: \S{1,200}:\d{1,6}: .{0,200}Assertion [`'](?P<message>.{1,200})' failed",
        exception="AssertionFailed"),
    rule(_K.EXCEPTION, "luajit: |loaderror: |exception in thread \"|' panicked at|panic: |ggml_assert|brokenprocesspool: ",
        r"^(?:\S{1,200}/)?luajit: (?P<message>.{1,300})|^ERROR: LoadError: (?P<message2>.{1,300})|"
        r"^Exception in thread \"[^\"]{1,60}\" (?P<message3>.{1,300})|"
        r"^thread '[^']{1,80}' panicked at (?P<message4>.{1,300})|^panic: (?P<message5>.{1,300})|^GGML_ASSERT\S{0,80}: (?P<message6>.{1,300})|"
        r"^(?:\w{1,60}\.){0,6}BrokenProcessPool: (?P<message7>.{1,300})", exception="Error"),
    rule(_K.EXCEPTION, "llvm error: |couldn't open file: |: command not found|: can't open file|omp: error #",
        r"^(?P<message>Couldn't open file: .{1,200}|LLVM ERROR: .{1,200}|\S{1,100}: (?:line \d{1,6}: )?\S{1,100}: command not found$|"
        r"\S{0,60}python\S{0,20}: can't open file .{1,200}|"
        r"OMP: Error #\d{1,4}: .{1,200})", exception="Error"),
    rule(_K.EXCEPTION, "systemexit: ", r"^SystemExit: (?P<message>(?!0\s*$).{1,200})", exception="SystemExit"),
    # what launchers say of the processes that they started
    rule(_K.SIGNAL, "failed with exit code", r"\b[Ff]ailed with exit code:? (?P<exit_code5>[1-9]\d{0,2})\b"),
    rule(_K.SIGNAL, "received by pid", r"[Ss]ignal (?P<signal>\d{1,2}) \((?P<name>SIG[A-Z]{2,6})\) received by PID"),
    rule(_K.SIGNAL, "*** sigterm", r"^\*\*\* SIGTERM \(@0x", signal=15),
    rule(_K.SIGNAL, "*** sig", r"^\*\*\* (?P<name>SIG[A-Z]{2,6}) \(@0x"),
    rule(_K.SIGNAL, "signal", r"exited on signal (?P<signal>\d{1,2}) \(|got signal: (?P<signal2>\d{1,2})|"
        r"died with <Signals\.\w{1,12}: (?P<signal3>\d{1,2})>|"
        r"terminated with signal (?P<name>SIG[A-Z]{2,6})|terminated by signal (?P<name2>SIG[A-Z]{2,6})|\bReceived (?P<signal4>\d{1,2}) death signal"),
    rule(_K.INTERRUPTED, "signal 2: sigint", r"\(interrupted by signal 2: SIGINT\)"),
    rule(_K.SIGNAL, "exitcode|exit code|exit_status|exit status|return code = |exited with code",
        r"\(exitcode:? (?P<exit_code>-?\d{1,3})\)|^\s*exitcode\s*: (?P<exit_code2>-?\d{1,3}) \(pid|"
        r"[Ee]xited with (?:exit )?code (?P<exit_code3>\d{1,3})|exit[_ ]status[=: ](?P<exit_code4>-?[1-9]\d{0,2})\b|"
        r"exits with return code = (?P<exit_code6>-?[1-9]\d{0,2})\b|(?:finished|terminated|"
        r"completed) with exit code (?P<exit_code7>-?[1-9]\d{0,9})\b|"
        r"^=\s{1,8}EXIT CODE: (?P<exit_code8>[1-9]\d{0,2})\b"),
    rule(_K.SIGNAL, "mpi_abort", r"MPI_ABORT was invoked|application called MPI_Abort\("),
    # what shells, the C library and Python say of a signal
    rule(_K.SIGNAL, "segmentation|段错误|speicherzugriffsfehler", _SHELL + r"?(?:[Ss]egmentation fault|段错误|Speicherzugriffsfehler)|"
        r"Fatal Python error: Segmentation fault|"
        r"FatalError: `Segmentation fault`", signal=11),
    rule(_K.SIGNAL, "access violation|segfault encountered|undefined portion", r"^Windows fatal exception: access violation|^Segfault encountered|"
        r"FatalError: `Access to an undefined portion", signal=11),
    rule(_K.SIGNAL, "abort|已放弃", r"^(?:Aborted(?: \(core dumped\)|$| +\S)|Abort trap: 6|已放弃|zsh: abort\b)|" + _SHELL + r"Aborted\b|"
        r"Fatal Python error: Aborted|"
        r"FatalError: `Process abort signal`", signal=6),
    rule(_K.SIGNAL, "terminate called|double free|free(): inv|malloc(): |size vs. prev_size|munmap_chunk()|invalid pointer|double-linked list|"
        "stack smashing",
        r"^terminate called (?:without an active exception|recursively)|double free or corruption|free\(\): inv|malloc\(\): |"
        r"corrupted size vs\. prev_size|"
        r"munmap_chunk\(\): inv|Attempt to free invalid pointer|corrupted double-linked list|stack smashing detected", signal=6),
    rule(_K.SIGNAL, "bus error", _SHELL + r"?[Bb]us error|Fatal Python error: Bus error", signal=7),
    rule(_K.SIGNAL, "illegal instruction|illegal hardware", _SHELL + r"?[Ii]llegal (?:hardware )?instruction\b|"
        r"Fatal Python error: Illegal instruction", signal=4),
    rule(_K.SIGNAL, "floating point exception", _SHELL + r"?[Ff]loating point exception|Fatal Python error: Floating point exception", signal=8),
    rule(_K.SIGNAL, "fatal python error", r"^Fatal Python error: \S"),
    rule(_K.SIGNAL, "sigterm|received termination|received signal|signal 15|terminated|termination signal",
        r"[Rr]eceived (?:Signals\.)?SIGTERM|SIGTERM received|"
        r"[Rr]eceived (?:termination )?signal:? (?:15|SIGTERM)|Caught signal 15|: Terminated\s*$|^Terminated\s*$|"
        r"FatalError: `Termination signal`|" + _SHELL +
        r"Terminated\b(?!\s{1,60}" + _OTHER_PROGRAM + ")", signal=15),
    rule(_K.KILLED, "killed|已杀死|已终止", r"^(?:已杀死|已终止)\s*$|"
        r"^Killed(?:: 9)?\s*$|" + _SHELL + r"[Kk]illed\b(?!(?:: 9)?\s{1,60}" + _OTHER_PROGRAM + ")", signal=9),
    rule(_K.KILLED, "worker died|died unexpectedly", r"A worker died or was killed while executing a task|died unexpectedly.{0,80}SIGKILL"),
    rule(_K.KILLED, "kernel appears|kernel crashed", r"^The kernel appears to have died|^The Kernel crashed while executing code"),
    rule(_K.INTERRUPTED, "interrupt|^c|sigint|aborted!", r"^KeyboardInterrupt\b|Detected KeyboardInterrupt|Keyboard ?interrupt received|"
        r"Interrupted by user|"
        r"^\^C|[Rr]eceived SIGINT|^Aborted!\s*$"),
)  # fmt: skip
