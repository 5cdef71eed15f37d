/* A fitted model: memory bank, Gaussian, channel choices (design section 3 and 4), and scoring with it.
 * Immutable once made; owned by one thread at a time.
 *
 * Everything random comes from named streams of (seed, stream): see mffa_model_stream; all of it is in the file.
 * Metadata: format "mffa-model", format_version "1"; profile, side, grid, blocks, gaussian_channels, ratio, lambda, sigma, seed,
 * keep_statistics (0 or 1): the profile; train_images; c1, c2, c3, width: the network's; backbone_name, backbone_sha256,
 * transformer_name, transformer_sha256, dataset: provenance; gaussian_form (how to read the factors); gaussian_worst_error (of the
 * Mahalanobis distance, relative, against double: measured when the fit ended).
 * Tensors: design section 4; beside them
 *   memory_bank.projection  F32 [128, C2+C3]         the coreset's projection, already divided by sqrt(128)
 *   gaussian.factor         I16 [G*G, d (d + 1) / 2]  rows of W, L L^T = covariance, W = L^-1, lower triangle packed row by row
 *   gaussian.scale          F32 [G*G, d]              of W's rows: W[i, j] = scale[i] * factor[i (i + 1) / 2 + j]
 *   gaussian.scatter        F32 [G*G, d (d + 1) / 2]  sums about the mean, packed likewise; with keep_statistics only */
#ifndef MFFA_CORE_MFFA_MODEL_H
#define MFFA_CORE_MFFA_MODEL_H

#include "core/base/progress.h"
#include "core/mffa/amc.h"
#include "core/mffa/need.h"
#include "core/mffa/network.h"
#include "core/mffa/profile.h"
#include "core/mffa/source.h"

typedef struct mffa_model mffa_model;

/* Streams of random numbers that a fit draws from, one thing each. */
typedef enum mffa_model_stream {
    MFFA_STREAM_LAYER3 = 101,    /* choose D of C3 */
    MFFA_STREAM_GAUSSIAN = 102,  /* choose d of D */
    MFFA_STREAM_PROJECTION = 103, /* normals in order of memory_bank.projection, each divided by sqrt(128) */
    MFFA_STREAM_FIRST = 104,     /* below(patches): the coreset's first row */
    MFFA_STREAM_MEASURE = 105    /* vectors that the Gaussian's error is measured with */
} mffa_model_stream;

/* Names and hashes of what a model was made with; written into its metadata, checked when it is used. */
typedef struct mffa_provenance {
    char backbone_name[128], backbone_sha256[65];       /* the pretrained or fine-tuned file that was used */
    char transformer_name[128], transformer_sha256[65]; /* "" when blocks is 0 */
    char dataset[1024];                                 /* URL, for people */
} mffa_provenance;

/* Learn "normal" from the pictures of `train` (two passes over it). Phases told to progress: "features", "coreset", "bank",
 * "gaussian". Memory is constant in the number of pictures but for 512 bytes a patch (the coreset's projected rows).
 * Pictures that load answers with MFFA_ESKIP are left out; train_images counts the others.
 * MFFA_EINVAL: fewer than 2 pictures, profile out of range for these weights. */
MFFA_MUST_USE mffa_code mffa_model_fit(mffa_network *net, const mffa_profile *profile, const mffa_provenance *from,
                                       const mffa_source *train, const mffa_progress *progress, mffa_model **out, mffa_err *err);
/* What fit would need at its peak, network included; for the announcement before the job starts. */
mffa_need mffa_model_fit_need(const mffa_network *net, const mffa_profile *profile, int64_t images);

/* MFFA_EINVAL for a model with keep_statistics that came from a file: its scatter is not in memory (the file itself is the copy). */
MFFA_MUST_USE mffa_code mffa_model_save(const mffa_model *m, const char *path, mffa_err *err);
/* Checks every tensor against the metadata before anything is used. */
MFFA_MUST_USE mffa_code mffa_model_open(const char *path, mffa_model **out, mffa_err *err);
void mffa_model_close(mffa_model *m);
static inline void mffa_model_close_p(mffa_model **m) { mffa_model_close(*m); }
const mffa_profile *mffa_model_profile(const mffa_model *m);
const mffa_provenance *mffa_model_provenance(const mffa_model *m);
int64_t mffa_model_bank_rows(const mffa_model *m);
int64_t mffa_model_train_images(const mffa_model *m);
int64_t mffa_model_bytes(const mffa_model *m); /* of memory */

/* What scoring `batch` pictures at once needs, model and network included. */
mffa_need mffa_model_score_need(const mffa_model *m, const mffa_network *net, int64_t batch);

/* Per image, what the score came from. */
typedef struct mffa_score {
    float score;                          /* max of the blurred map */
    float nns_max, nns_mean;              /* of the nearest-neighbour map at S */
    float gaussian_max, gaussian_mean;    /* of the Mahalanobis map at S */
    int peak_x, peak_y;                   /* where the maximum is, at S */
} mffa_score;

/* images [n, 3, S, S] float32 0..1 (borrowed), n any number; maps [n, S, S] (caller allocates), scores [n].
 * When memory runs out the network's batch is halved, for good, and the work goes on; MFFA_ENOMEM when one picture is too much.
 * MFFA_EINVAL when the network's widths or blocks are not those that the model was fitted with, or a map is not finite. */
MFFA_MUST_USE mffa_code mffa_model_score(const mffa_model *m, mffa_network *net, mffa_maps which, const float *images, int64_t n,
                                         float *maps, mffa_score *scores, mffa_err *err);

#endif
