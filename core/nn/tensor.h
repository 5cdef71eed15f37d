/* Tensors: some 50 operations on a device, over libtorch (tensor.cpp, the one C++ file). No torch type appears here.
 *
 * Every operation takes a scope first. The scope owns each tensor made in it and carries the first error; after that its operations
 * do nothing and return NULL, and every operation takes NULL tensors once the scope has failed, so a network reads as straight lines
 * of mathematics and is checked once:
 *     mffa_scope *s = mffa_scope_open(device, MFFA_INFER);
 *     mffa_tensor *y = mffa_relu(s, mffa_conv2d(s, x, w, NULL, 1, 1));
 *     mffa_tensor_read(s, y, MFFA_F32, out, count);
 *     mffa_code rc = mffa_scope_check(s, err);
 *     mffa_scope_close(s);
 * Peak memory is what the open scopes hold: nest a scope around temporaries, move what must outlive it with mffa_scope_keep, or give
 * one tensor back early with mffa_drop.
 *
 * Failures: MFFA_ENOMEM (host or device memory), MFFA_EDEVICE (anything torch refuses), MFFA_EINVAL (our own argument checks).
 * Outputs written to host memory are untouched after a failure.
 * Threads: a scope, its tensors and an optimiser belong to the thread that opened them. A device may be shared.
 *
 * Types: float32 unless said otherwise. On a bf16 device conv2d, linear and matmul compute in bfloat16 and return it (operands are
 * cast unless they are bfloat16 already); softmax, layer_norm, the losses and reductions return float32; the rest keeps its input's
 * type and a mixed pair gives the wider one. mffa_tensor_read converts. */
#ifndef MFFA_CORE_NN_TENSOR_H
#define MFFA_CORE_NN_TENSOR_H

#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" { /* for the headers below too */
#endif
#include "core/base/err.h"
#include "core/nn/safetensors.h" /* mffa_dtype */

typedef struct mffa_device mffa_device;
typedef struct mffa_scope mffa_scope;
typedef struct mffa_tensor mffa_tensor;

/* ---- device ---- */

/* name: "auto" (cuda:0 if there is one, else cpu), "cpu", "cuda:N". precision: "fp32", "tf32" (GPU only), "bf16". threads: 0 = as
 * many as this process may run on. Threads, tf32 and determinism are settings of the whole process: the last device opened decides.
 * Algorithms are chosen so that the same device and thread count give the same bits. MFFA_EINVAL says what to give instead. */
MFFA_MUST_USE mffa_code mffa_device_open(const char *name, const char *precision, int threads, mffa_device **out, mffa_err *err);
void mffa_device_close(mffa_device *d);
static inline void mffa_device_close_p(mffa_device **d) { mffa_device_close(*d); }
const char *mffa_device_name(const mffa_device *d);      /* "cpu", "cuda:0" */
const char *mffa_device_precision(const mffa_device *d); /* "fp32", "tf32", "bf16" */
int mffa_device_threads(const mffa_device *d);
bool mffa_device_is_gpu(const mffa_device *d);
int mffa_device_gpus(void); /* that this process could open; 0 without CUDA */
MFFA_MUST_USE mffa_code mffa_device_check(const char *name, mffa_err *err); /* whether it is here, without opening it */
typedef struct mffa_device_memory { /* bytes of a GPU; all 0 on a CPU */
    int64_t total, available;       /* available: free, or held by this process already */
    int64_t peak;                   /* most that tensors of this process had at once since the last reset */
} mffa_device_memory;
mffa_device_memory mffa_device_memory_of(const mffa_device *d);
void mffa_device_memory_reset(const mffa_device *d);
/* Whether the device still answers. After some failures a GPU refuses everything until its process ends. */
bool mffa_device_works(const mffa_device *d);

/* ---- scopes ---- */

typedef enum mffa_mode {
    MFFA_INFER, /* no gradients; its tensors cannot take part in a gradient later */
    MFFA_GRAD   /* operations on tensors that require gradients are recorded for mffa_backward */
} mffa_mode;

/* NULL when out of memory: all functions here take a NULL scope as one that failed with MFFA_ENOMEM. d is borrowed. */
mffa_scope *mffa_scope_open(const mffa_device *d, mffa_mode mode);
/* A scope inside parent (same device and mode): starts with the parent's error if it has one and hands its own error up when it
 * closes. Close it before the parent. */
mffa_scope *mffa_scope_nest(mffa_scope *parent);
void mffa_scope_close(mffa_scope *s); /* releases its tensors; NULL allowed */
static inline void mffa_scope_close_p(mffa_scope **s) { mffa_scope_close(*s); }
/* The first error, MFFA_OK if none. */
MFFA_MUST_USE mffa_code mffa_scope_check(const mffa_scope *s, mffa_err *err);
bool mffa_scope_ok(const mffa_scope *s);
/* Fail the scope from outside (first error wins), so that C code may check arguments between operations. */
void mffa_scope_fail(mffa_scope *s, mffa_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* t belongs to `to` from now on, wherever it was made; returns t. The common use moves a result from a nested scope to its parent. */
mffa_tensor *mffa_scope_keep(mffa_scope *to, mffa_tensor *t);
/* Release one tensor before its scope ends; t is invalid afterwards. NULL allowed. Views of it keep its memory alive. */
void mffa_drop(mffa_tensor *t);
const mffa_device *mffa_scope_device(const mffa_scope *s);
mffa_mode mffa_scope_mode(const mffa_scope *s);
size_t mffa_scope_tensors(const mffa_scope *s); /* how many it owns now: for tests of peak memory */

/* ---- in and out; shape ---- */

enum { MFFA_MAX_RANK = 8 };

/* Types: F32, F64, I64, I16, F16, BF16. data [shape] row-major is copied; NULL data gives zeros. */
mffa_tensor *mffa_tensor_from(mffa_scope *s, mffa_dtype dtype, const void *data, int rank, const int64_t *shape);
/* On the CPU a view of data, which must stay valid and unchanged as long as the tensor and its views live; on a GPU a copy. */
mffa_tensor *mffa_tensor_borrow(mffa_scope *s, mffa_dtype dtype, const void *data, int rank, const int64_t *shape);
mffa_tensor *mffa_eye(mffa_scope *s, int64_t n); /* [n, n]: 1 on the diagonal, 0 elsewhere */
/* Into host memory, row-major, converted to dtype (F32, F64, I64, I16); waits for the device. MFFA_EINVAL unless t has count elements. */
void mffa_tensor_read(mffa_scope *s, const mffa_tensor *t, mffa_dtype dtype, void *out, int64_t count);
/* Where its elements lie, row-major and on the device, for a kernel of our own; MFFA_EINVAL for a view that is not contiguous. Kernels
 * on the default stream run after the operations before and before those that follow. */
void *mffa_tensor_data(mffa_scope *s, mffa_tensor *t);
int mffa_tensor_rank(const mffa_tensor *t);               /* 0 for NULL */
int64_t mffa_tensor_size(const mffa_tensor *t, int axis); /* 0 for NULL; axis -1 is the last */
int64_t mffa_tensor_count(const mffa_tensor *t);          /* elements; 0 for NULL */

mffa_tensor *mffa_cast(mffa_scope *s, mffa_tensor *x, mffa_dtype dtype);
/* To the type in which the device multiplies (bfloat16 on a bf16 device): for weights that are used often. */
mffa_tensor *mffa_lower(mffa_scope *s, mffa_tensor *x);

/* Views where possible (no memory of their own). A size of -1 in reshape is worked out. */
mffa_tensor *mffa_reshape(mffa_scope *s, mffa_tensor *x, int rank, const int64_t *shape);
mffa_tensor *mffa_permute(mffa_scope *s, mffa_tensor *x, int rank, const int *axes);
mffa_tensor *mffa_narrow(mffa_scope *s, mffa_tensor *x, int axis, int64_t start, int64_t length);
mffa_tensor *mffa_select(mffa_scope *s, mffa_tensor *x, int axis, int64_t index); /* rank - 1 */
mffa_tensor *mffa_contiguous(mffa_scope *s, mffa_tensor *x);
/* Copies. */
mffa_tensor *mffa_cat(mffa_scope *s, mffa_tensor *const *parts, int n, int axis);
/* index on the host, range-checked */
mffa_tensor *mffa_index_select(mffa_scope *s, mffa_tensor *x, int axis, const int64_t *index, int64_t n);
mffa_tensor *mffa_take(mffa_scope *s, mffa_tensor *x, int axis, mffa_tensor *index /* I64 [n], not range-checked */);
/* Write src over part of dst, in place: rows start.. of axis. */
void mffa_copy_into(mffa_scope *s, mffa_tensor *dst, int axis, int64_t start, mffa_tensor *src);

/* ---- elementwise (broadcasting as in numpy) ---- */

mffa_tensor *mffa_add(mffa_scope *s, mffa_tensor *a, mffa_tensor *b);
mffa_tensor *mffa_sub(mffa_scope *s, mffa_tensor *a, mffa_tensor *b);
mffa_tensor *mffa_mul(mffa_scope *s, mffa_tensor *a, mffa_tensor *b);
mffa_tensor *mffa_div(mffa_scope *s, mffa_tensor *a, mffa_tensor *b);
mffa_tensor *mffa_affine(mffa_scope *s, mffa_tensor *x, double scale, double shift); /* scale * x + shift */
mffa_tensor *mffa_sqrt(mffa_scope *s, mffa_tensor *x);
mffa_tensor *mffa_abs(mffa_scope *s, mffa_tensor *x);
mffa_tensor *mffa_round(mffa_scope *s, mffa_tensor *x); /* to the nearest integer, halves to the even one */
mffa_tensor *mffa_clamp(mffa_scope *s, mffa_tensor *x, double low, double high);
mffa_tensor *mffa_relu(mffa_scope *s, mffa_tensor *x);
mffa_tensor *mffa_gelu(mffa_scope *s, mffa_tensor *x); /* exact: x Phi(x) */
/* In place, the first argument is returned: half the memory where the old value is not wanted. */
mffa_tensor *mffa_relu_in(mffa_scope *s, mffa_tensor *x);
mffa_tensor *mffa_gelu_in(mffa_scope *s, mffa_tensor *x); /* MFFA_INFER only */
mffa_tensor *mffa_add_in(mffa_scope *s, mffa_tensor *a, mffa_tensor *b);
mffa_tensor *mffa_mul_in(mffa_scope *s, mffa_tensor *a, mffa_tensor *b);

/* ---- reductions; the axis disappears ---- */

mffa_tensor *mffa_sum(mffa_scope *s, mffa_tensor *x, int axis);
mffa_tensor *mffa_mean(mffa_scope *s, mffa_tensor *x, int axis);
mffa_tensor *mffa_max(mffa_scope *s, mffa_tensor *x, int axis);
mffa_tensor *mffa_min(mffa_scope *s, mffa_tensor *x, int axis);
mffa_tensor *mffa_argmax(mffa_scope *s, mffa_tensor *x, int axis); /* I64; the first of equals */
mffa_tensor *mffa_argmin(mffa_scope *s, mffa_tensor *x, int axis);

/* Where values [n, m] are at most their row's bound [n]: I64 [k, 2], row and column, in that order. Waits for the device. */
mffa_tensor *mffa_at_most(mffa_scope *s, mffa_tensor *values, mffa_tensor *bound);
/* [n]: the least of values [k] with that index (I64 [k], 0..n-1); infinity where there is none. */
mffa_tensor *mffa_least_of(mffa_scope *s, int64_t n, mffa_tensor *index, mffa_tensor *values);

/* ---- networks ---- */

mffa_tensor *mffa_matmul(mffa_scope *s, mffa_tensor *a, mffa_tensor *b);    /* [..., m, k] x [..., k, n] */
mffa_tensor *mffa_matmul_nt(mffa_scope *s, mffa_tensor *a, mffa_tensor *b); /* [..., m, k] x [..., n, k] transposed */
/* c = alpha * a b + beta * c in place and in c's own type (F32 or F64) whatever the device's precision; [m, n] or [batch, m, n].
 * transpose_a: a is [.., k, m]; transpose_b: b is [.., n, k]. With beta 0 the old c does not matter. */
typedef struct mffa_gemm_how {
    bool transpose_a, transpose_b;
    double alpha, beta;
} mffa_gemm_how;
void mffa_gemm(mffa_scope *s, mffa_tensor *c, mffa_tensor *a, mffa_tensor *b, mffa_gemm_how how);
mffa_tensor *mffa_linear(mffa_scope *s, mffa_tensor *x, mffa_tensor *weight /* [out, in] */, mffa_tensor *bias /* or NULL */);
mffa_tensor *mffa_softmax(mffa_scope *s, mffa_tensor *x, int axis);
mffa_tensor *mffa_layer_norm(mffa_scope *s, mffa_tensor *x, mffa_tensor *weight, mffa_tensor *bias, double eps); /* over the last axis */
mffa_tensor *mffa_conv2d(mffa_scope *s, mffa_tensor *x /* [B,C,H,W] */, mffa_tensor *weight, mffa_tensor *bias /* or NULL */, int stride,
                         int pad);

typedef struct mffa_bn { /* [C] each, float32 */
    mffa_tensor *weight, *bias, *mean, *var;
} mffa_bn;
/* training: statistics of the batch, and mean and var move towards them in place (momentum .1); else mean and var as they are.
 * eps 1e-5. */
mffa_tensor *mffa_batch_norm(mffa_scope *s, mffa_tensor *x, mffa_bn bn, bool training);
mffa_tensor *mffa_max_pool(mffa_scope *s, mffa_tensor *x, int size, int stride, int pad);
mffa_tensor *mffa_avg_pool(mffa_scope *s, mffa_tensor *x, int size, int stride, int pad); /* padding zeros are counted */
mffa_tensor *mffa_adaptive_avg_pool(mffa_scope *s, mffa_tensor *x, int64_t h, int64_t w);
mffa_tensor *mffa_upsample(mffa_scope *s, mffa_tensor *x, int64_t h, int64_t w); /* bilinear, align_corners false */
/* Separable Gaussian on x [N,C,H,W], radius int(4 sigma + .5), border repeating the edge sample; sigma 0 gives x itself. */
mffa_tensor *mffa_gaussian_blur(mffa_scope *s, mffa_tensor *x, double sigma);

/* ---- linear algebra on batches of square matrices [..., k, k], F32 or F64 ---- */

/* Lower factor; MFFA_EINVAL names the first matrix that is not positive definite. */
mffa_tensor *mffa_cholesky(mffa_scope *s, mffa_tensor *a);
/* Inverse of lower triangular matrices. */
mffa_tensor *mffa_tri_inverse(mffa_scope *s, mffa_tensor *lower);

/* ---- training (scopes with MFFA_GRAD) ---- */

/* x becomes a parameter; returns x. */
mffa_tensor *mffa_require_grad(mffa_scope *s, mffa_tensor *x);
/* Mean over the batch. logits [B, classes], labels I64 [B]. */
mffa_tensor *mffa_cross_entropy(mffa_scope *s, mffa_tensor *logits, mffa_tensor *labels);
/* Adds the gradients of loss (one element) to its parameters. */
void mffa_backward(mffa_scope *s, mffa_tensor *loss);
/* The gradient that backward left on a parameter; MFFA_EINVAL if none did. */
mffa_tensor *mffa_grad(mffa_scope *s, mffa_tensor *parameter);

/* Stochastic gradient descent as torch.optim.SGD (no Nesterov, no dampening): g += weight_decay * p; v = g at first, then
 * momentum * v + g; p -= learning_rate * v. The parameters are kept alive by the optimiser. */
typedef struct mffa_sgd mffa_sgd;
typedef struct mffa_sgd_rates {
    double learning_rate, momentum, weight_decay;
} mffa_sgd_rates;
mffa_sgd *mffa_sgd_open(mffa_scope *s, mffa_tensor *const *parameters, int n, mffa_sgd_rates rates); /* NULL when the scope failed */
void mffa_sgd_close(mffa_sgd *o);
static inline void mffa_sgd_close_p(mffa_sgd **o) { mffa_sgd_close(*o); }
void mffa_sgd_step(mffa_scope *s, mffa_sgd *o); /* applies the gradients and clears them */
/* Momentum of parameter i, for checkpoints: NULL before the first step; set copies v in. */
mffa_tensor *mffa_sgd_momentum(mffa_scope *s, mffa_sgd *o, int i);
void mffa_sgd_set_momentum(mffa_scope *s, mffa_sgd *o, int i, mffa_tensor *v);

#ifdef __cplusplus
}
#endif

#endif
