"""stn doctor: the versions, devices and backends in use, and why."""

from rich.console import Console
from rich.table import Table


def doctor() -> None:
    """Show versions, devices, backends, data and optional packages: what is in use and why.

    Example:

        stn doctor
    """
    import platform
    from importlib.util import find_spec

    import torch

    import spatial_transformer
    from spatial_transformer.experiments.data.mnist import locate_mnist
    from spatial_transformer.experiments.training.memory import keep_freed_memory
    from spatial_transformer.experiments.training.precision import has_native_bfloat16
    from spatial_transformer.ops.backend import backend_status

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("spatial_transformer", spatial_transformer.__version__)
    table.add_row("Python", platform.python_version())
    table.add_row("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    table.add_row("GPU", gpu)
    for name, (available, why) in backend_status().items():
        table.add_row(f"backend {name}", f"{'available' if available else 'no'}: {why}")
    native = "native" if has_native_bfloat16(torch.device("cpu")) else "emulated: float32 instead"
    table.add_row("bfloat16 on the CPU", native)
    memory = "kept while training" if keep_freed_memory() else "as the C library has it: no glibc"
    table.add_row("freed memory", memory)
    where = locate_mnist()
    table.add_row("MNIST", str(where) if where else "not here yet: fetched at first use")
    for package in ("tensorboard", "scipy", "h5py", "gradio", "onnx", "huggingface_hub", "triton"):
        table.add_row(package, "installed" if find_spec(package) else "not installed (optional)")
    Console().print(table)
