#include "core/nn/linalg.h"

static mffa_code check_sizes(int64_t a, int64_t b, int64_t c, mffa_err *err) {
    int64_t product;
    if (a < 1 || b < 1 || c < 1 || __builtin_mul_overflow(a, b, &product) || __builtin_mul_overflow(product, c, &product) ||
        product > INT64_MAX / 64)
        return mffa_fail(err, MFFA_EINVAL, "matrix sizes %lld, %lld, %lld: each must be at least 1 and their product fit 57 bits",
                         (long long)a, (long long)b, (long long)c);
    return MFFA_OK;
}

static mffa_code finish(mffa_scope *s, mffa_tensor *result, mffa_dtype dtype, void *out, mffa_err *err) {
    mffa_tensor_read(s, result, dtype, out, mffa_tensor_count(result));
    return mffa_scope_check(s, err);
}

mffa_code mffa_linalg_product_nt(const mffa_device *d, const float *a, int64_t m, const float *b, int64_t n, int64_t k, float alpha,
                                 float beta, float *out, mffa_err *err) {
    mffa_code rc = check_sizes(m, n, k, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(d, MFFA_INFER);
    mffa_tensor *ta = mffa_tensor_borrow(s, MFFA_F32, a, 2, (int64_t[]){m, k});
    mffa_tensor *tb = mffa_tensor_borrow(s, MFFA_F32, b, 2, (int64_t[]){n, k});
    mffa_tensor *tc = mffa_tensor_borrow(s, MFFA_F32, out, 2, (int64_t[]){m, n});
    mffa_gemm(s, tc, ta, tb, (mffa_gemm_how){.transpose_b = true, .alpha = alpha, .beta = beta});
    return finish(s, tc, MFFA_F32, out, err);
}

void mffa_linalg_row_norms(const float *x, int64_t rows, int64_t k, float *out) {
    for (int64_t i = 0; i < rows; i++) {
        double sum = 0;
        for (int64_t j = 0; j < k; j++) sum += (double)x[i * k + j] * x[i * k + j];
        out[i] = (float)sum;
    }
}

mffa_code mffa_linalg_cholesky(const mffa_device *d, double *a, int64_t batch, int64_t k, mffa_err *err) {
    mffa_code rc = check_sizes(batch, k, k, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(d, MFFA_INFER);
    mffa_tensor *t = mffa_tensor_borrow(s, MFFA_F64, a, 3, (int64_t[]){batch, k, k});
    return finish(s, mffa_cholesky(s, t), MFFA_F64, a, err);
}

mffa_code mffa_linalg_tri_inverse(const mffa_device *d, double *lower, int64_t batch, int64_t k, mffa_err *err) {
    mffa_code rc = check_sizes(batch, k, k, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(d, MFFA_INFER);
    mffa_tensor *t = mffa_tensor_borrow(s, MFFA_F64, lower, 3, (int64_t[]){batch, k, k});
    return finish(s, mffa_tri_inverse(s, t), MFFA_F64, lower, err);
}
