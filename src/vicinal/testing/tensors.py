"""Sizes, layouts and devices of the samples, and gradients to them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vicinal.testing.failure import Broken, expect, expect_same, given
from vicinal.testing.subject import Named, Subject, described, leaves


def sizes_may_be_odd(subject: Subject) -> None:
    for size in (1, 2, 3, 5):
        batch = subject.batch(size)
        with given(f"{size} samples, {described(batch)}"):
            rows, wanted = len(subject.result(batch)), len(subject.params(batch))
            expect(rows == wanted, f"{wanted} samples, one for each row of params", f"{rows}")


def images_may_be_odd(subject: Subject) -> None:
    """Of any size and one or three channels; a card that names a shape may refuse others."""
    for shape in ((1, 13, 9), (3, 8, 8), (3, 5, 32), (3, 7, 3)):
        batch = subject.batch(shape=shape)
        with given(described(batch)):
            try:
                subject.result(batch)
            except ValueError:
                if "image" not in subject.card.shapes:
                    raise


def layouts_do_not_matter(subject: Subject) -> None:
    """Expanded, transposed and strided inputs give what contiguous ones do."""
    batch = subject.batch()
    for name, laid in _layouts(batch.tensor):
        plain, other = batch.replace(x=laid.contiguous()), batch.replace(x=laid)
        with given(f"{described(other)}, {name}"):
            params = subject.params(plain)
            expect_same(subject.params(other), params, "the params of contiguous samples")
            wanted = subject.apply(plain, params)
            result = subject.apply(other, params)
            expect_same(laid, plain.x, "an input left as it is")
            # Sums may be taken in another order.
            atol = 16 * torch.finfo(laid.dtype).eps if laid.is_floating_point() else 0.0
            expect_same(result, wanted, "what contiguous samples give", atol=atol)


def memory_format_is_kept(subject: Subject) -> None:
    batch = subject.batch()
    rank = batch.tensor.dim()
    formats = [torch.contiguous_format]
    formats += {4: [torch.channels_last], 5: [torch.channels_last_3d]}.get(rank, [])
    for wanted in formats:
        laid = batch.replace(x=batch.tensor.contiguous(memory_format=wanted))
        with given(f"{described(batch)} in {wanted}"):
            result = subject.result(laid).tensor
            kept = result.dim() != rank or result.is_contiguous(memory_format=wanted)
            expect(kept, f"x in {wanted}", f"x of strides {result.stride()}")


def device_is_kept(subject: Subject) -> None:
    """On the host, and on the accelerator where there is one."""
    devices = [torch.device("cpu")]
    if torch.accelerator.is_available():
        devices.append(torch.device(torch.accelerator.current_accelerator() or "cpu"))
    for device in devices:
        batch = subject.batch().to(device)
        with given(f"{described(batch)} on {device}"):
            params = subject.params(batch)
            result = subject.apply(batch, params)
            tensors = [(f"params.{name}", tensor) for name, tensor in params.flat().items()]
            tensors += [("x", leaf) for leaf in leaves(result)]
            for name, tensor in tensors:
                kept = tensor.device.type == device.type
                expect(kept, f"everything on {device}", f"{name} on {tensor.device}")


def gradients_flow_to_x(subject: Subject) -> None:
    batch = subject.batch(dtype=torch.float32)
    x = batch.tensor.clone().requires_grad_()
    with given(described(batch), expected="a gradient for x, as the card declares"):
        params = subject.params(batch)
        result = subject.apply(batch.replace(x=x), params).tensor
        expect(result.requires_grad, "a result that carries gradients", "one that carries none")
        # Uneven weights: the plain sum of a standardised row, say, has no gradient.
        weights = torch.linspace(0.5, 1.5, result.numel()).view_as(result)
        total = (result.float() * weights).sum()
        (gradient,) = torch.autograd.grad(total, x, allow_unused=True)
        moved = subject.apply(batch.replace(x=x.detach() + 0.01), params).tensor
        if torch.equal(moved, result):
            return  # nothing of x is left in the result
        if gradient is None or not gradient.any():
            raise Broken("a gradient for x, on which the result depends", "none")
        expect(bool(gradient.isfinite().all()), "finite gradients", "infinite ones or NaN")


def _layouts(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The same numbers, or repeated ones, laid otherwise in memory."""
    yield "expanded from one sample", x[:1].expand_as(x)
    yield "every second sample of a larger batch", x.repeat_interleave(2, dim=0)[::2]
    if x.dim() > 1:
        yield "with samples innermost", x.transpose(0, 1).contiguous().transpose(0, 1)
    if x.dim() > 2:
        yield "with the last axes transposed", x.mT.contiguous().mT
        yield "with one channel expanded", x[:, :1].expand_as(x)
    if x.dim() == 4:
        yield "channels last", x.contiguous(memory_format=torch.channels_last)


def checks(subject: Subject) -> Iterator[Named]:
    """Those that the kind of samples and the card allow."""
    for check in (sizes_may_be_odd, device_is_kept):
        yield check.__name__, check
    if subject.modality == "image":
        yield images_may_be_odd.__name__, images_may_be_odd
    if subject.on_tensors:
        yield layouts_do_not_matter.__name__, layouts_do_not_matter
        yield memory_format_is_kept.__name__, memory_format_is_kept
        if subject.card.differentiable:
            yield gradients_flow_to_x.__name__, gradients_flow_to_x
