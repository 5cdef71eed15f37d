#include "scheduler/ctl/sample.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include "core/image/png.h"
#include "scheduler/ctl/sample_scene.h"
#include "scheduler/ctl/sample_weights.h"

mffa_sample_options mffa_sample_defaults(void) {
    return (mffa_sample_options){.seed = 1, .train = 24, .good = 6, .defects_per_kind = 4, .side_px = 256, .profile = "small"};
}

static mffa_code check_range(const char *name, int value, int least, int most, mffa_err *err) {
    if (value >= least && value <= most) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "%s=%d: expected an integer from %d to %d", name, value, least, most);
}

static mffa_code check_options(const mffa_sample_options *o, mffa_err *err) {
    mffa_code rc = check_range("train", o->train, 1, 10000, err);
    if (!rc) rc = check_range("good", o->good, 0, 10000, err);
    if (!rc) rc = check_range("defects_per_kind", o->defects_per_kind, 0, 1000, err);
    if (!rc) rc = check_range("side_px", o->side_px, 64, 2048, err);
    return rc;
}

static mffa_code io_failed(const char *what, const char *path, mffa_err *err) {
    mffa_code code = errno == ENOSPC || errno == EDQUOT                    ? MFFA_ENOSPC
                     : errno == EACCES || errno == EROFS || errno == EPERM ? MFFA_EDENIED
                                                                           : MFFA_EIO;
    return mffa_fail(err, code, "could not %s \"%s\": %s", what, path, strerror(errno));
}

/* The folders that lead to path, and path itself where it names one (ends with a slash). */
static mffa_code make_folders(const char *path, mffa_err *err) {
    char part[PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0777) && errno != EEXIST) return io_failed("make the folder", part, err);
    }
    return MFFA_OK;
}

static mffa_code write_image(const mffa_image *im, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf bytes = {0};
    mffa_code rc = mffa_png_write(im, &bytes, err);
    if (!rc) rc = make_folders(path, err);
    if (rc) return rc;
    FILE *f = fopen(path, "wbe");
    if (!f) return io_failed("create", path, err);
    bool written = fwrite(bytes.ptr, 1, bytes.len, f) == bytes.len;
    return fclose(f) == 0 && written ? MFFA_OK : io_failed("write", path, err);
}

typedef struct writing {
    const mffa_sample_options *o;
    const mffa_progress *progress;
    const char *folder; /* <temporary>/dataset */
    uint64_t number;    /* of the next picture */
    int64_t total;
} writing;

/* count pictures into <use>/<kind>/000.png and on. */
static mffa_code write_pictures(writing *w, const char *use, mffa_sample_defect d, int count, mffa_err *err) {
    char path[PATH_MAX];
    const char *kind = mffa_sample_defect_name(d);
    for (int i = 0; i < count; i++, w->number++) {
        MFFA_AUTO(mffa_image_done) mffa_image picture = {0};
        MFFA_AUTO(mffa_image_done) mffa_image mask = {0};
        mffa_code rc = mffa_sample_scene(w->o->seed, w->number, d, w->o->side_px, &picture, &mask, err);
        snprintf(path, sizeof path, "%s/%s/%s/%03d.png", w->folder, use, kind, i);
        if (!rc) rc = write_image(&picture, path, err);
        snprintf(path, sizeof path, "%s/ground_truth/%s/%03d_mask.png", w->folder, kind, i);
        if (!rc && d != MFFA_SAMPLE_NORMAL) rc = write_image(&mask, path, err);
        if (!rc) rc = mffa_tick(w->progress, "pictures", (int64_t)w->number + 1, w->total, err);
        if (rc) return rc;
    }
    return MFFA_OK;
}

static mffa_code write_dataset(const char *folder, const mffa_sample_options *o, const mffa_progress *p, mffa_err *err) {
    writing w = {o, p, folder, 0, (int64_t)o->train + o->good + (int64_t)o->defects_per_kind * MFFA_SAMPLE_DEFECT_COUNT};
    mffa_code rc = write_pictures(&w, "train", MFFA_SAMPLE_NORMAL, o->train, err);
    if (!rc) rc = write_pictures(&w, "test", MFFA_SAMPLE_NORMAL, o->good, err);
    for (int d = 0; d < MFFA_SAMPLE_DEFECT_COUNT && !rc; d++)
        rc = write_pictures(&w, "test", (mffa_sample_defect)d, o->defects_per_kind, err);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    return remove(path);
}

static void remove_tree_p(char **path) {
    if (*path) (void)nftw(*path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static mffa_code publish(const char *temporary, const char *dir, mffa_err *err) {
    static const char *const names[] = {"weights", "dataset"};
    char from[2][PATH_MAX], to[2][PATH_MAX];
    for (int i = 0; i < 2; i++) {
        snprintf(from[i], sizeof from[i], "%s/%s", temporary, names[i]);
        snprintf(to[i], sizeof to[i], "%s/%s", dir, names[i]);
        if (rename(from[i], to[i]) == 0) continue;
        mffa_code rc = io_failed("move the finished sample to", to[i], err);
        if (i) (void)rename(to[0], from[0]); /* both or neither */
        return rc;
    }
    return MFFA_OK;
}

static mffa_code refuse_existing(const char *dir, const char *name, mffa_err *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (access(path, F_OK)) return MFFA_OK;
    return mffa_fail(err, MFFA_EEXISTS, "\"%s\" is there already: remove it or name another folder", path);
}

mffa_code mffa_sample_write(const char *dir, const mffa_sample_options *o, const mffa_progress *p, mffa_err *err) {
    enum { LONGEST_NAME_INSIDE = 100 };
    char part[PATH_MAX], made[PATH_MAX];
    MFFA_AUTO(remove_tree_p) char *temporary = NULL;
    if (!dir[0] || strlen(dir) > PATH_MAX - LONGEST_NAME_INSIDE)
        return mffa_fail(err, MFFA_EINVAL, "the folder's name has %zu bytes: expected 1 to %d", strlen(dir),
                         PATH_MAX - LONGEST_NAME_INSIDE);
    mffa_code rc = check_options(o, err);
    if (!rc) rc = mffa_sample_weights_check(o->profile, err);
    if (!rc) rc = refuse_existing(dir, "dataset", err);
    if (!rc) rc = refuse_existing(dir, "weights", err);
    snprintf(part, sizeof part, "%s/", dir);
    if (!rc) rc = make_folders(part, err);
    if (rc) return rc;
    snprintf(made, sizeof made, "%s/.sample-XXXXXX", dir);
    temporary = mkdtemp(made);
    if (!temporary) return io_failed("make a folder in", dir, err);
    snprintf(part, sizeof part, "%s/dataset", temporary);
    rc = write_dataset(part, o, p, err);
    snprintf(part, sizeof part, "%s/weights", temporary);
    if (!rc && mkdir(part, 0777)) rc = io_failed("make the folder", part, err);
    if (!rc) rc = mffa_sample_weights(part, o->profile, o->seed, p, err);
    return rc ? rc : publish(temporary, dir, err);
}
