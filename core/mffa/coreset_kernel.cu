#include "core/mffa/coreset_kernel.h"

enum { WIDTH = 128, THREADS = 256, STEP = 8 /* squares between two looks at the bound */ };

struct farthest {
    double far;
    int64_t at;
};

/* The farther of two; of equals the lower index. */
static __device__ farthest farther(farthest a, farthest b) { return b.far > a.far || (b.far == a.far && b.at < a.at) ? b : a; }

/* Of all threads of the block; the result is thread 0's. */
static __device__ farthest of_block(farthest mine) {
    __shared__ farthest all[THREADS];
    all[threadIdx.x] = mine;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) all[threadIdx.x] = farther(all[threadIdx.x], all[threadIdx.x + half]);
    }
    return all[0];
}

/* Brings every bound up to date with centre chosen[step - 1]. */
static __global__ void compare(mffa_coreset_kernel k, int64_t step) {
    __shared__ double centre[WIDTH];
    const int64_t row = k.chosen[step - 1];
    if (threadIdx.x < WIDTH) centre[threadIdx.x] = k.columns[threadIdx.x * k.n + row];
    __syncthreads();
    farthest mine = {-1, k.n};
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < k.n; i += gridDim.x * (int64_t)THREADS) {
        const double before = i == row ? -1 : k.bound[i];
        double sum = 0;
        for (int c = 0; c < WIDTH && sum < before; c += STEP)
            for (int j = c; j < c + STEP; j++) {
                const double d = (double)k.columns[j * k.n + i] - centre[j];
                sum = __dadd_rn(sum, __dmul_rn(d, d)); /* never fused */
            }
        const double bound = sum < before ? sum : before;
        if (i == row || bound < before) k.bound[i] = bound;
        if (bound > mine.far) mine = {bound, i};
    }
    mine = of_block(mine);
    if (threadIdx.x == 0) {
        k.far[blockIdx.x] = mine.far;
        k.at[blockIdx.x] = mine.at;
    }
}

static __global__ void choose(mffa_coreset_kernel k, int64_t step, int blocks) {
    farthest mine = {-1, k.n};
    for (int b = threadIdx.x; b < blocks; b += THREADS) mine = farther(mine, {k.far[b], k.at[b]});
    mine = of_block(mine);
    if (threadIdx.x == 0) k.chosen[step] = mine.at;
}

int mffa_coreset_kernel_steps(const mffa_coreset_kernel *k, int64_t from, int64_t to) {
    const int64_t wanted = (k->n + THREADS - 1) / THREADS;
    const int blocks = wanted < MFFA_CORESET_BLOCKS ? (int)wanted : MFFA_CORESET_BLOCKS;
    for (int64_t step = from; step < to; step++) {
        compare<<<blocks, THREADS>>>(*k, step);
        choose<<<1, THREADS>>>(*k, step, blocks);
    }
    const cudaError_t launched = cudaGetLastError();
    return (int)(launched != cudaSuccess ? launched : cudaStreamSynchronize(0));
}

const char *mffa_coreset_kernel_error(int code) { return cudaGetErrorString((cudaError_t)code); }
