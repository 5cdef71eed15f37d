// The interface of tensor.h over libtorch: the one file that sees torch. Every function that can throw goes through op() or act().
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>
#include <unistd.h>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/add.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/argmin.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/le.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/replication_pad2d.h>
#include <ATen/ops/scatter_reduce.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <torch/optim/sgd.h>

#ifdef MFFA_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#endif
extern "C" {
#include "core/nn/cpus.h"
}
#include "core/nn/tensor.h"

struct mffa_device {
    std::string name, precision;
    at::Device at = at::kCPU;
    at::ScalarType compute = at::kFloat; // of conv2d, linear and matmul
    int threads = 1;
};

struct mffa_tensor {
    at::Tensor value;
    mffa_scope *owner;
    size_t slot; // in owner->held
};

struct mffa_scope {
    const mffa_device *device;
    mffa_mode mode;
    mffa_scope *parent;
    mffa_err err{};
    std::vector<mffa_tensor *> held{};
};

struct mffa_sgd {
    std::vector<at::Tensor> parameters;
    torch::optim::SGD optimiser;
};

namespace {

struct Refusal { // our own argument checks, thrown through op() and act()
    mffa_code code;
    std::string text;
};

std::string first_line(const char *text) { return std::string(text, std::strcspn(text, "\n")); }

// Runs body unless the scope has failed; every exception becomes the scope's error. Modes are set here for one call rather than when
// the scope opens: scopes of different owners may then close in any order and leave no thread in another's mode.
template <class F> void act(mffa_scope *s, const char *what, F &&body) noexcept {
    if (!s || s->err.code) return; // sticky: the first failure is the one reported
    try {
        c10::InferenceMode mode(s->mode == MFFA_INFER);
        body();
    } catch (const Refusal &e) {
        mffa_fail(&s->err, e.code, "%s: %s", what, e.text.c_str());
    } catch (const c10::OutOfMemoryError &e) {
        mffa_fail(&s->err, MFFA_ENOMEM, "%s: %s", what, first_line(e.what_without_backtrace()).c_str());
    } catch (const c10::Error &e) { // the CPU allocator has no type of its own for running out
        const bool memory = std::strstr(e.what_without_backtrace(), "can't allocate memory") != nullptr;
        mffa_fail(&s->err, memory ? MFFA_ENOMEM : MFFA_EDEVICE, "%s: %s", what, first_line(e.what_without_backtrace()).c_str());
    } catch (const std::bad_alloc &) {
        mffa_fail(&s->err, MFFA_ENOMEM, "%s: out of host memory", what);
    } catch (const std::exception &e) { // oneDNN: what it does not support fails before; a primitive that fails had no memory for its code
        const bool memory = !std::strcmp(e.what(), "could not create a primitive");
        mffa_fail(&s->err, memory ? MFFA_ENOMEM : MFFA_EDEVICE, "%s: %s", what, first_line(e.what()).c_str());
    } catch (...) {
        mffa_fail(&s->err, MFFA_EDEVICE, "%s: unrecognized exception", what);
    }
}

void adopt(mffa_scope *s, mffa_tensor *t) { // may throw; nothing has changed then
    s->held.push_back(t);
    t->owner = s;
    t->slot = s->held.size() - 1;
}

void disown(mffa_tensor *t) noexcept {
    auto &held = t->owner->held;
    held[t->slot] = held.back();
    held[t->slot]->slot = t->slot;
    held.pop_back();
}

template <class F> mffa_tensor *op(mffa_scope *s, const char *what, F &&body) noexcept {
    mffa_tensor *out = nullptr;
    act(s, what, [&] {
        auto t = std::make_unique<mffa_tensor>();
        t->value = body();
        adopt(s, t.get());
        out = t.release();
    });
    return out;
}

template <class F> mffa_tensor *in_place(mffa_scope *s, const char *what, mffa_tensor *x, F &&body) noexcept {
    act(s, what, body);
    return s && !s->err.code ? x : nullptr;
}

at::Tensor &in(const mffa_tensor *t) {
    if (!t) throw Refusal{MFFA_EINVAL, "an operand is missing"};
    return const_cast<mffa_tensor *>(t)->value;
}

std::optional<at::Tensor> maybe(const mffa_tensor *t) { return t ? std::optional<at::Tensor>(t->value) : std::nullopt; }

at::ScalarType type_of(mffa_dtype t) {
    switch (t) {
    case MFFA_F32: return at::kFloat;
    case MFFA_F64: return at::kDouble;
    case MFFA_I64: return at::kLong;
    case MFFA_I16: return at::kShort;
    case MFFA_F16: return at::kHalf;
    case MFFA_BF16: return at::kBFloat16;
    default:
        throw Refusal{MFFA_EINVAL, "tensors of type number " + std::to_string(t) + " are not supported: F32, F64, I64, I16, F16 or BF16"};
    }
}

std::vector<int64_t> sizes_of(int rank, const int64_t *shape) {
    if (rank < 0 || rank > MFFA_MAX_RANK) throw Refusal{MFFA_EINVAL, "rank " + std::to_string(rank) + " is outside 0 to 8"};
    int64_t count = 1;
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(count, shape[i] ? shape[i] : 1, &count) || count > INT64_MAX / 8)
            throw Refusal{MFFA_EINVAL, "size " + std::to_string(shape[i]) + " of axis " + std::to_string(i) + " is negative or too large"};
    return std::vector<int64_t>(shape, shape + rank);
}

at::Tensor lowered(const mffa_scope *s, const at::Tensor &x) {
    return s->device->compute == at::kFloat || !at::isFloatingType(x.scalar_type()) ? x : x.to(s->device->compute);
}

std::optional<at::Tensor> lowered(const mffa_scope *s, const mffa_tensor *t) {
    return t ? std::optional<at::Tensor>(lowered(s, t->value)) : std::nullopt;
}

at::Tensor widened(const at::Tensor &x) { return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x; }

#ifdef MFFA_CUDA
constexpr const char *gpu_needs = " (CUDA 13 needs a GPU of Turing or newer and driver 580 or newer)";
#else
constexpr const char *gpu_needs = " (it is built without CUDA)";
#endif
int gpu_count() { return at::hasCUDA() ? static_cast<int>(at::detail::getCUDAHooks().deviceCount()) : 0; }

mffa_code pick_device(const char *name, at::Device &out, mffa_err *err) {
    if (!std::strcmp(name, "cpu")) return out = at::kCPU, MFFA_OK;
    if (!std::strcmp(name, "auto")) return out = gpu_count() > 0 ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU), MFFA_OK;
    char *end = nullptr;
    const long n = !std::strncmp(name, "cuda:", 5) && name[5] >= '0' && name[5] <= '9' ? std::strtol(name + 5, &end, 10) : -1;
    if (n < 0 || n > 127 || *end) return mffa_fail(err, MFFA_EINVAL, "device \"%s\" is unknown: give auto, cpu or cuda:N", name);
    if (n >= gpu_count())
        return mffa_fail(err, MFFA_EINVAL, "device \"%s\" is not here: this program finds %d GPUs%s; give auto or cpu", name, gpu_count(),
                         at::hasCUDA() ? "" : gpu_needs);
    return out = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(n)), MFFA_OK;
}

void set_process(const mffa_device &d) {
    at::set_num_threads(d.threads);
    auto &context = at::globalContext();
    context.setDeterministicAlgorithms(true, /*warn_only=*/true);
    context.setDeterministicFillUninitializedMemory(false); // we read nothing uninitialised; filling costs a pass over every result
    context.setDeterministicMkldnn(true);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
    if (d.at.is_cuda()) {
        context.setAllowTF32CuBLAS(d.precision == "tf32");
        context.setAllowTF32CuDNN(d.precision == "tf32");
    }
}

} // namespace

// ---- device ----

mffa_code mffa_device_open(const char *name, const char *precision, int threads, mffa_device **out, mffa_err *err) {
    try {
        auto d = std::make_unique<mffa_device>();
        const mffa_code rc = pick_device(name, d->at, err);
        if (rc) return rc;
        d->precision = precision;
        if (d->precision == "bf16") d->compute = at::kBFloat16;
        else if (d->precision != "fp32" && d->precision != "tf32")
            return mffa_fail(err, MFFA_EINVAL, "precision \"%s\" is unknown: give fp32, tf32 or bf16", precision);
        if (d->precision == "tf32" && !d->at.is_cuda())
            return mffa_fail(err, MFFA_EINVAL, "precision \"tf32\" needs a GPU and the device is \"cpu\": give fp32 or bf16");
        if (threads < 0 || threads > 4096) return mffa_fail(err, MFFA_EINVAL, "%d threads: expected 0 to 4096", threads);
        d->threads = threads ? threads : mffa_cpus();
        d->name = d->at.is_cuda() ? "cuda:" + std::to_string(d->at.index()) : "cpu";
        if (d->at.is_cuda()) at::globalContext().lazyInitDevice(at::kCUDA); // before anybody asks for its memory
        set_process(*d);
        *out = d.release();
        return MFFA_OK;
    } catch (const std::bad_alloc &) {
        return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    } catch (const std::exception &e) {
        return mffa_fail(err, MFFA_EDEVICE, "device \"%s\": %s", name, first_line(e.what()).c_str());
    }
}

void mffa_device_close(mffa_device *d) { delete d; }
const char *mffa_device_name(const mffa_device *d) { return d->name.c_str(); }
const char *mffa_device_precision(const mffa_device *d) { return d->precision.c_str(); }
int mffa_device_threads(const mffa_device *d) { return d->threads; }
bool mffa_device_is_gpu(const mffa_device *d) { return d->at.is_cuda(); }
int mffa_device_gpus(void) { return gpu_count(); }

mffa_code mffa_device_check(const char *name, mffa_err *err) {
    at::Device found = at::kCPU;
    return pick_device(name, found, err);
}

#ifdef MFFA_CUDA
mffa_device_memory mffa_device_memory_of(const mffa_device *d) {
    mffa_device_memory m{};
    if (!d->at.is_cuda()) return m;
    try {
        const c10::cuda::CUDAGuard here(d->at);
        const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(d->at.index());
        size_t free = 0, total = 0;
        if (cudaMemGetInfo(&free, &total) != cudaSuccess) return m;
        const auto &held = stats.reserved_bytes[0], &used = stats.allocated_bytes[0]; // [0]: all pools together
        m.total = static_cast<int64_t>(total);
        m.available = static_cast<int64_t>(free) + held.current;
        m.peak = used.peak;
    } catch (...) { // a GPU that gave up
    }
    return m;
}

void mffa_device_memory_reset(const mffa_device *d) {
    try {
        if (d->at.is_cuda()) c10::cuda::CUDACachingAllocator::resetPeakStats(d->at.index());
    } catch (...) {
    }
}
#else
mffa_device_memory mffa_device_memory_of(const mffa_device *) { return {}; }
void mffa_device_memory_reset(const mffa_device *) {}
#endif

bool mffa_device_works(const mffa_device *d) {
    try {
        return at::full({1}, 2, at::TensorOptions(d->at)).add_(1).to(at::kCPU).item<float>() == 3;
    } catch (...) {
        return false;
    }
}

// ---- scopes ----

mffa_scope *mffa_scope_open(const mffa_device *d, mffa_mode mode) { return new (std::nothrow) mffa_scope{d, mode, nullptr}; }

mffa_scope *mffa_scope_nest(mffa_scope *parent) {
    if (!parent) return nullptr;
    auto *s = new (std::nothrow) mffa_scope{parent->device, parent->mode, parent};
    if (s) s->err = parent->err;
    else mffa_scope_fail(parent, MFFA_ENOMEM, "out of host memory for a scope");
    return s;
}

void mffa_scope_close(mffa_scope *s) {
    if (!s) return;
    for (mffa_tensor *t : s->held) delete t;
    if (s->parent && s->err.code && !s->parent->err.code) s->parent->err = s->err;
    delete s;
}

mffa_code mffa_scope_check(const mffa_scope *s, mffa_err *err) {
    if (!s) return mffa_fail(err, MFFA_ENOMEM, "out of host memory for a scope");
    if (s->err.code && err) *err = s->err;
    return s->err.code;
}

bool mffa_scope_ok(const mffa_scope *s) { return s && !s->err.code; }

void mffa_scope_fail(mffa_scope *s, mffa_code code, const char *fmt, ...) {
    if (!s || s->err.code) return;
    char text[sizeof s->err.msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    mffa_fail(&s->err, code, "%s", text);
}

mffa_tensor *mffa_scope_keep(mffa_scope *to, mffa_tensor *t) {
    if (!t || !to || t->owner == to) return t;
    try {
        to->held.push_back(t);
    } catch (const std::exception &) {
        return mffa_scope_fail(to, MFFA_ENOMEM, "keep: out of host memory"), nullptr;
    }
    disown(t);
    t->owner = to;
    t->slot = to->held.size() - 1;
    return t;
}

void mffa_drop(mffa_tensor *t) {
    if (!t) return;
    disown(t);
    delete t;
}

const mffa_device *mffa_scope_device(const mffa_scope *s) { return s ? s->device : nullptr; }
mffa_mode mffa_scope_mode(const mffa_scope *s) { return s ? s->mode : MFFA_INFER; }
size_t mffa_scope_tensors(const mffa_scope *s) { return s ? s->held.size() : 0; }

// ---- in and out; shape ----

mffa_tensor *mffa_tensor_from(mffa_scope *s, mffa_dtype dtype, const void *data, int rank, const int64_t *shape) {
    return op(s, "tensor", [&] {
        const auto sizes = sizes_of(rank, shape);
        if (!data) return at::zeros(sizes, at::TensorOptions(s->device->at).dtype(type_of(dtype)));
        if (s->device->at.is_cuda()) return at::from_blob(const_cast<void *>(data), sizes, type_of(dtype)).to(s->device->at);
        at::Tensor t = at::empty(sizes, type_of(dtype));
        std::memcpy(t.mutable_data_ptr(), data, t.nbytes()); // bytewise: data may be unaligned, inside a mapped file
        return t.to(s->device->at);
    });
}

mffa_tensor *mffa_tensor_borrow(mffa_scope *s, mffa_dtype dtype, const void *data, int rank, const int64_t *shape) {
    return op(s, "tensor", [&] {
        return at::from_blob(const_cast<void *>(data), sizes_of(rank, shape), at::TensorOptions().dtype(type_of(dtype))).to(s->device->at);
    });
}

void mffa_tensor_read(mffa_scope *s, const mffa_tensor *t, mffa_dtype dtype, void *out, int64_t count) {
    act(s, "read", [&] {
        const at::Tensor &x = in(t);
        if (x.numel() != count)
            throw Refusal{MFFA_EINVAL,
                          "the tensor has " + std::to_string(x.numel()) + " elements, " + std::to_string(count) + " are wanted"};
        const at::Tensor there = x.detach().to(type_of(dtype)).contiguous();
        if (count && x.is_cuda()) {
            at::from_blob(out, there.sizes(), there.scalar_type()).copy_(there);
            return;
        }
        if (count && there.const_data_ptr() != out) std::memcpy(out, there.const_data_ptr(), there.nbytes());
    });
}

void *mffa_tensor_data(mffa_scope *s, mffa_tensor *t) {
    void *data = nullptr;
    act(s, "data", [&] {
        if (!in(t).is_contiguous()) throw Refusal{MFFA_EINVAL, "the tensor is a view that is not contiguous"};
        data = in(t).mutable_data_ptr();
    });
    return data;
}

mffa_tensor *mffa_eye(mffa_scope *s, int64_t n) {
    return op(s, "eye", [&] { return at::eye(n, at::TensorOptions(s->device->at).dtype(at::kFloat)); });
}

int mffa_tensor_rank(const mffa_tensor *t) { return t ? static_cast<int>(t->value.dim()) : 0; }

int64_t mffa_tensor_size(const mffa_tensor *t, int axis) {
    if (!t) return 0;
    const auto sizes = t->value.sizes();
    const int64_t rank = static_cast<int64_t>(sizes.size()), at = axis < 0 ? axis + rank : axis;
    return at >= 0 && at < rank ? sizes[static_cast<size_t>(at)] : 0;
}

int64_t mffa_tensor_count(const mffa_tensor *t) { return t ? t->value.numel() : 0; }

mffa_tensor *mffa_cast(mffa_scope *s, mffa_tensor *x, mffa_dtype dtype) {
    return op(s, "cast", [&] { return in(x).to(type_of(dtype)); });
}
mffa_tensor *mffa_lower(mffa_scope *s, mffa_tensor *x) {
    return op(s, "lower", [&] { return lowered(s, in(x)); });
}
mffa_tensor *mffa_reshape(mffa_scope *s, mffa_tensor *x, int rank, const int64_t *shape) {
    return op(s, "reshape", [&] { return in(x).reshape(at::IntArrayRef(shape, static_cast<size_t>(rank))); });
}
mffa_tensor *mffa_permute(mffa_scope *s, mffa_tensor *x, int rank, const int *axes) {
    return op(s, "permute", [&] { return in(x).permute(std::vector<int64_t>(axes, axes + rank)); });
}
mffa_tensor *mffa_narrow(mffa_scope *s, mffa_tensor *x, int axis, int64_t start, int64_t length) {
    return op(s, "narrow", [&] { return in(x).narrow(axis, start, length); });
}
mffa_tensor *mffa_select(mffa_scope *s, mffa_tensor *x, int axis, int64_t index) {
    return op(s, "select", [&] { return in(x).select(axis, index); });
}
mffa_tensor *mffa_contiguous(mffa_scope *s, mffa_tensor *x) {
    return op(s, "contiguous", [&] { return in(x).contiguous(); });
}

mffa_tensor *mffa_cat(mffa_scope *s, mffa_tensor *const *parts, int n, int axis) {
    return op(s, "cat", [&] {
        std::vector<at::Tensor> all;
        for (int i = 0; i < n; i++) all.push_back(in(parts[i]));
        return at::cat(all, axis);
    });
}

mffa_tensor *mffa_index_select(mffa_scope *s, mffa_tensor *x, int axis, const int64_t *index, int64_t n) {
    return op(s, "index_select", [&] {
        const int64_t size = in(x).size(axis);
        for (int64_t i = 0; i < n; i++)
            if (index[i] < 0 || index[i] >= size)
                throw Refusal{MFFA_EINVAL, "index " + std::to_string(index[i]) + " is outside 0 to " + std::to_string(size - 1)};
        const at::Tensor at = at::from_blob(const_cast<int64_t *>(index), {n}, at::TensorOptions().dtype(at::kLong)).clone();
        return at::index_select(in(x), axis, at.to(in(x).device()));
    });
}

mffa_tensor *mffa_take(mffa_scope *s, mffa_tensor *x, int axis, mffa_tensor *index) {
    return op(s, "take", [&] { return at::index_select(in(x), axis, in(index)); });
}

void mffa_copy_into(mffa_scope *s, mffa_tensor *dst, int axis, int64_t start, mffa_tensor *src) {
    act(s, "copy_into", [&] { in(dst).narrow(axis, start, in(src).size(axis)).copy_(in(src)); });
}

// ---- elementwise ----

mffa_tensor *mffa_add(mffa_scope *s, mffa_tensor *a, mffa_tensor *b) {
    return op(s, "add", [&] { return at::add(in(a), in(b)); });
}
mffa_tensor *mffa_sub(mffa_scope *s, mffa_tensor *a, mffa_tensor *b) {
    return op(s, "sub", [&] { return at::sub(in(a), in(b)); });
}
mffa_tensor *mffa_mul(mffa_scope *s, mffa_tensor *a, mffa_tensor *b) {
    return op(s, "mul", [&] { return at::mul(in(a), in(b)); });
}
mffa_tensor *mffa_div(mffa_scope *s, mffa_tensor *a, mffa_tensor *b) {
    return op(s, "div", [&] { return at::div(in(a), in(b)); });
}
mffa_tensor *mffa_affine(mffa_scope *s, mffa_tensor *x, double scale, double shift) {
    return op(s, "affine", [&] {
        at::Tensor y = at::mul(in(x), scale);
        return shift == 0 ? y : y.add_(shift);
    });
}
mffa_tensor *mffa_sqrt(mffa_scope *s, mffa_tensor *x) {
    return op(s, "sqrt", [&] { return at::sqrt(in(x)); });
}
mffa_tensor *mffa_abs(mffa_scope *s, mffa_tensor *x) {
    return op(s, "abs", [&] { return at::abs(in(x)); });
}
mffa_tensor *mffa_round(mffa_scope *s, mffa_tensor *x) {
    return op(s, "round", [&] { return at::round(in(x)); });
}
mffa_tensor *mffa_clamp(mffa_scope *s, mffa_tensor *x, double low, double high) {
    return op(s, "clamp", [&] { return at::clamp(in(x), low, high); });
}
mffa_tensor *mffa_relu(mffa_scope *s, mffa_tensor *x) {
    return op(s, "relu", [&] { return at::relu(in(x)); });
}
mffa_tensor *mffa_gelu(mffa_scope *s, mffa_tensor *x) {
    return op(s, "gelu", [&] { return at::gelu(in(x), "none"); });
}
mffa_tensor *mffa_relu_in(mffa_scope *s, mffa_tensor *x) {
    return in_place(s, "relu", x, [&] { in(x).relu_(); });
}
mffa_tensor *mffa_gelu_in(mffa_scope *s, mffa_tensor *x) {
    return in_place(s, "gelu", x, [&] { at::gelu_(in(x), "none"); });
}
mffa_tensor *mffa_add_in(mffa_scope *s, mffa_tensor *a, mffa_tensor *b) {
    return in_place(s, "add", a, [&] { in(a).add_(in(b)); });
}
mffa_tensor *mffa_mul_in(mffa_scope *s, mffa_tensor *a, mffa_tensor *b) {
    return in_place(s, "mul", a, [&] { in(a).mul_(in(b)); });
}

// ---- reductions ----

mffa_tensor *mffa_sum(mffa_scope *s, mffa_tensor *x, int axis) {
    return op(s, "sum", [&] { return at::sum(widened(in(x)), {axis}); });
}
mffa_tensor *mffa_mean(mffa_scope *s, mffa_tensor *x, int axis) {
    return op(s, "mean", [&] { return at::mean(widened(in(x)), {axis}); });
}
mffa_tensor *mffa_max(mffa_scope *s, mffa_tensor *x, int axis) {
    return op(s, "max", [&] { return widened(at::amax(in(x), {axis})); });
}
mffa_tensor *mffa_min(mffa_scope *s, mffa_tensor *x, int axis) {
    return op(s, "min", [&] { return widened(at::amin(in(x), {axis})); });
}
mffa_tensor *mffa_argmax(mffa_scope *s, mffa_tensor *x, int axis) {
    return op(s, "argmax", [&] { return at::argmax(in(x), axis); });
}
mffa_tensor *mffa_argmin(mffa_scope *s, mffa_tensor *x, int axis) {
    return op(s, "argmin", [&] { return at::argmin(in(x), axis); });
}

mffa_tensor *mffa_at_most(mffa_scope *s, mffa_tensor *values, mffa_tensor *bound) {
    return op(s, "at_most", [&] { return at::nonzero(at::le(in(values), in(bound).unsqueeze(1))); });
}
mffa_tensor *mffa_least_of(mffa_scope *s, int64_t n, mffa_tensor *index, mffa_tensor *values) {
    return op(s, "least_of", [&] {
        return at::full({n}, std::numeric_limits<double>::infinity(), in(values).options())
            .scatter_reduce(0, in(index), in(values), "amin");
    });
}

// ---- networks ----

mffa_tensor *mffa_matmul(mffa_scope *s, mffa_tensor *a, mffa_tensor *b) {
    return op(s, "matmul", [&] { return at::matmul(lowered(s, in(a)), lowered(s, in(b))); });
}
mffa_tensor *mffa_matmul_nt(mffa_scope *s, mffa_tensor *a, mffa_tensor *b) {
    return op(s, "matmul", [&] { return at::matmul(lowered(s, in(a)), lowered(s, in(b)).transpose(-2, -1)); });
}

void mffa_gemm(mffa_scope *s, mffa_tensor *c, mffa_tensor *a, mffa_tensor *b, mffa_gemm_how how) {
    act(s, "gemm", [&] {
        struct Exact { // full precision for this call, whatever the process is set to
            bool before = at::globalContext().allowTF32CuBLAS();
            Exact() { if (before) at::globalContext().setAllowTF32CuBLAS(false); }
            ~Exact() { if (before) at::globalContext().setAllowTF32CuBLAS(true); }
        } exact;
        const at::Tensor x = how.transpose_a ? in(a).transpose(-2, -1) : in(a), y = how.transpose_b ? in(b).transpose(-2, -1) : in(b);
        if (in(c).dim() == 3) in(c).baddbmm_(x, y, how.beta, how.alpha);
        else in(c).addmm_(x, y, how.beta, how.alpha);
    });
}

mffa_tensor *mffa_linear(mffa_scope *s, mffa_tensor *x, mffa_tensor *weight, mffa_tensor *bias) {
    return op(s, "linear", [&] { return at::linear(lowered(s, in(x)), lowered(s, in(weight)), lowered(s, bias)); });
}
mffa_tensor *mffa_softmax(mffa_scope *s, mffa_tensor *x, int axis) {
    return op(s, "softmax", [&] { return at::softmax(widened(in(x)), axis); });
}
mffa_tensor *mffa_layer_norm(mffa_scope *s, mffa_tensor *x, mffa_tensor *weight, mffa_tensor *bias, double eps) {
    return op(s, "layer_norm", [&] { return at::layer_norm(widened(in(x)), {in(x).size(-1)}, maybe(weight), maybe(bias), eps); });
}
mffa_tensor *mffa_conv2d(mffa_scope *s, mffa_tensor *x, mffa_tensor *weight, mffa_tensor *bias, int stride, int pad) {
    return op(s, "conv2d", [&] { return at::conv2d(lowered(s, in(x)), lowered(s, in(weight)), lowered(s, bias), stride, pad); });
}
mffa_tensor *mffa_batch_norm(mffa_scope *s, mffa_tensor *x, mffa_bn bn, bool training) {
    return op(s, "batch_norm", [&] {
        return at::batch_norm(in(x), in(bn.weight), in(bn.bias), in(bn.mean), in(bn.var), training, .1, 1e-5, /*cudnn_enabled=*/true);
    });
}
mffa_tensor *mffa_max_pool(mffa_scope *s, mffa_tensor *x, int size, int stride, int pad) {
    return op(s, "max_pool", [&] { return at::max_pool2d(in(x), size, stride, pad); });
}
mffa_tensor *mffa_avg_pool(mffa_scope *s, mffa_tensor *x, int size, int stride, int pad) {
    return op(s, "avg_pool", [&] { return at::avg_pool2d(in(x), size, stride, pad, /*ceil_mode=*/false, /*count_include_pad=*/true); });
}
mffa_tensor *mffa_adaptive_avg_pool(mffa_scope *s, mffa_tensor *x, int64_t h, int64_t w) {
    return op(s, "adaptive_avg_pool", [&] { return at::adaptive_avg_pool2d(in(x), {h, w}); });
}
mffa_tensor *mffa_upsample(mffa_scope *s, mffa_tensor *x, int64_t h, int64_t w) {
    return op(s, "upsample", [&] { return at::upsample_bilinear2d(in(x), {h, w}, /*align_corners=*/false); });
}

mffa_tensor *mffa_gaussian_blur(mffa_scope *s, mffa_tensor *x, double sigma) {
    return op(s, "gaussian_blur", [&] {
        if (!(sigma >= 0) || sigma > 1000) throw Refusal{MFFA_EINVAL, "sigma " + std::to_string(sigma) + " is outside 0 to 1000"};
        const int64_t radius = static_cast<int64_t>(4 * sigma + .5);
        if (radius == 0) return in(x).clone();
        std::vector<float> taps;
        double sum = 0;
        for (int64_t i = -radius; i <= radius; i++) sum += std::exp(-.5 * static_cast<double>(i * i) / (sigma * sigma));
        for (int64_t i = -radius; i <= radius; i++)
            taps.push_back(static_cast<float>(std::exp(-.5 * static_cast<double>(i * i) / (sigma * sigma)) / sum));
        const int64_t n = static_cast<int64_t>(taps.size()), h = in(x).size(2), w = in(x).size(3);
        const at::Tensor kernel = at::from_blob(taps.data(), {1, 1, n, 1}).to(in(x).device()).to(in(x).scalar_type()).clone();
        at::Tensor y = at::replication_pad2d(in(x).reshape({-1, 1, h, w}), {radius, radius, radius, radius});
        y = at::conv2d(at::conv2d(y, kernel), kernel.transpose(2, 3));
        return y.reshape(in(x).sizes());
    });
}

// ---- linear algebra ----

mffa_tensor *mffa_cholesky(mffa_scope *s, mffa_tensor *a) {
    return op(s, "cholesky", [&] {
        auto [factor, info] = at::linalg_cholesky_ex(in(a));
        const at::Tensor bad = info.reshape({-1}).ne(0).to(at::kCPU, at::kLong);
        if (bad.sum().item<int64_t>())
            throw Refusal{MFFA_EINVAL, "matrix " + std::to_string(at::argmax(bad).item<int64_t>()) + " is not positive definite"};
        return factor;
    });
}

mffa_tensor *mffa_tri_inverse(mffa_scope *s, mffa_tensor *lower) {
    return op(s, "tri_inverse", [&] {
        const at::Tensor one = at::eye(in(lower).size(-1), in(lower).options());
        return at::linalg_solve_triangular(in(lower), one.expand_as(in(lower)), /*upper=*/false);
    });
}

// ---- training ----

mffa_tensor *mffa_require_grad(mffa_scope *s, mffa_tensor *x) {
    return in_place(s, "require_grad", x, [&] { in(x).set_requires_grad(true); });
}
mffa_tensor *mffa_cross_entropy(mffa_scope *s, mffa_tensor *logits, mffa_tensor *labels) {
    return op(s, "cross_entropy", [&] { return at::cross_entropy_loss(widened(in(logits)), in(labels)); });
}
void mffa_backward(mffa_scope *s, mffa_tensor *loss) {
    act(s, "backward", [&] { in(loss).backward(); });
}
mffa_tensor *mffa_grad(mffa_scope *s, mffa_tensor *parameter) {
    return op(s, "grad", [&] {
        if (!in(parameter).grad().defined()) throw Refusal{MFFA_EINVAL, "no gradient: backward has not reached this parameter"};
        return in(parameter).grad();
    });
}

mffa_sgd *mffa_sgd_open(mffa_scope *s, mffa_tensor *const *parameters, int n, mffa_sgd_rates rates) {
    mffa_sgd *out = nullptr;
    act(s, "sgd", [&] {
        std::vector<at::Tensor> all;
        for (int i = 0; i < n; i++) all.push_back(in(parameters[i]));
        auto options = torch::optim::SGDOptions(rates.learning_rate).momentum(rates.momentum).weight_decay(rates.weight_decay);
        out = new mffa_sgd{all, torch::optim::SGD(all, options)};
    });
    return out;
}

void mffa_sgd_close(mffa_sgd *o) { delete o; }

void mffa_sgd_step(mffa_scope *s, mffa_sgd *o) {
    act(s, "sgd", [&] {
        o->optimiser.step();
        o->optimiser.zero_grad();
    });
}

mffa_tensor *mffa_sgd_momentum(mffa_scope *s, mffa_sgd *o, int i) {
    if (!o) return nullptr;
    auto &state = o->optimiser.state();
    const auto found = state.find(o->parameters[static_cast<size_t>(i)].unsafeGetTensorImpl());
    if (found == state.end()) return nullptr;
    return op(s, "momentum", [&] { return static_cast<torch::optim::SGDParamState &>(*found->second).momentum_buffer(); });
}

void mffa_sgd_set_momentum(mffa_scope *s, mffa_sgd *o, int i, mffa_tensor *v) {
    act(s, "momentum", [&] {
        auto state = std::make_unique<torch::optim::SGDParamState>();
        state->momentum_buffer(in(v).clone());
        o->optimiser.state()[o->parameters[static_cast<size_t>(i)].unsafeGetTensorImpl()] = std::move(state);
    });
}
