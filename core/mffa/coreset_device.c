#include "core/mffa/coreset_device.h"

#ifdef MFFA_CUDA
#include <math.h>
#include "core/mffa/coreset_kernel.h"

enum { STEPS = 256 /* between two ticks */ };

/* [n, 128] on the host -> [128, n] on the device. */
static mffa_tensor *columns_of(mffa_scope *s, const float *rows, int64_t n) {
    mffa_tensor *up = mffa_tensor_from(s, MFFA_F32, rows, 2, (int64_t[]){n, MFFA_CORESET_WIDTH});
    mffa_tensor *columns = mffa_contiguous(s, mffa_permute(s, up, 2, (int[]){1, 0}));
    mffa_drop(up);
    return columns;
}

static mffa_code steps(mffa_coreset_kernel *k, int64_t m, const mffa_progress *progress, mffa_err *err) {
    for (int64_t at = 1; at < m; at += STEPS) {
        mffa_code rc = mffa_tick(progress, "coreset", at, m, err);
        int failed = rc ? 0 : mffa_coreset_kernel_steps(k, at, at + STEPS < m ? at + STEPS : m);
        if (failed) return mffa_fail(err, MFFA_EDEVICE, "coreset: %s", mffa_coreset_kernel_error(failed));
        if (rc) return rc;
    }
    return mffa_tick(progress, "coreset", m, m, err);
}

static mffa_code choose(const mffa_device *d, const float *rows, int64_t n, int64_t m, int64_t first, int64_t *chosen,
                        const mffa_progress *progress, mffa_err *err) {
    const int64_t blocks = MFFA_CORESET_BLOCKS;
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(d, MFFA_INFER);
    mffa_tensor *columns = columns_of(s, rows, n);
    mffa_tensor *bound = mffa_affine(s, mffa_tensor_from(s, MFFA_F64, NULL, 1, &n), 0, INFINITY);
    mffa_tensor *picked = mffa_tensor_from(s, MFFA_I64, NULL, 1, &m);
    mffa_copy_into(s, picked, 0, 0, mffa_tensor_from(s, MFFA_I64, &first, 1, &(int64_t){1}));
    mffa_coreset_kernel k = {.columns = mffa_tensor_data(s, columns),
                             .n = n,
                             .bound = mffa_tensor_data(s, bound),
                             .chosen = mffa_tensor_data(s, picked),
                             .far = mffa_tensor_data(s, mffa_tensor_from(s, MFFA_F64, NULL, 1, &blocks)),
                             .at = mffa_tensor_data(s, mffa_tensor_from(s, MFFA_I64, NULL, 1, &blocks))};
    mffa_code rc = mffa_scope_check(s, err);
    if (!rc) rc = steps(&k, m, progress, err);
    if (rc) return rc;
    mffa_tensor_read(s, picked, MFFA_I64, chosen, m);
    return mffa_scope_check(s, err);
}

mffa_code mffa_coreset_choose_on(const mffa_device *d, const float *rows, int64_t n, int64_t m, int64_t first, int64_t *chosen,
                                 const mffa_progress *progress, mffa_err *err) {
    mffa_err why = {0};
    mffa_code rc = mffa_device_is_gpu(d) ? mffa_coreset_check(rows, n, m, first, &why) : MFFA_ENOMEM;
    if (!rc) rc = choose(d, rows, n, m, first, chosen, progress, &why);
    if (rc == MFFA_ENOMEM) return mffa_coreset_choose(rows, n, m, first, chosen, progress, err);
    if (rc && err) *err = why;
    return rc;
}
#else
mffa_code mffa_coreset_choose_on(const mffa_device *d, const float *rows, int64_t n, int64_t m, int64_t first, int64_t *chosen,
                                 const mffa_progress *progress, mffa_err *err) {
    (void)d;
    return mffa_coreset_choose(rows, n, m, first, chosen, progress, err);
}
#endif
