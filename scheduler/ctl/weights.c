/* The published weights of a profile, as the two safetensors files that jobs want. What lies in the folder already is used: a person
 * behind a closed network puts the published files there, and this command converts and checks them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/base/digest.h"
#include "core/nn/pth.h"
#include "core/nn/weights_kind.h"
#include "scheduler/ctl/command.h"
#include "scheduler/ctl/download.h"
#include "scheduler/ctl/progress_line.h"

typedef struct published {
    const char *profile, *file, *url; /* file: the publisher's name of it */
    const char *becomes;              /* in the folder */
    const char *digits;               /* the first of its SHA-256, where the publisher tells them; NULL: nobody does */
    mffa_weights_kind kind;
} published;

static const published files[] = {
    {"small", "resnet18-f37072fd.pth", "https://download.pytorch.org/models/resnet18-f37072fd.pth", "resnet18.safetensors", "f37072fd",
     MFFA_WEIGHTS_BACKBONE},
    {"small", "cait_xxs24_224.safetensors", "https://huggingface.co/timm/cait_xxs24_224.fb_dist_in1k/resolve/main/model.safetensors",
     "cait_xxs24_224.safetensors", NULL, MFFA_WEIGHTS_TRANSFORMER},
    {"paper", "wide_resnet50_2-95faca4d.pth", "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
     "wide_resnet50_2.safetensors", "95faca4d", MFFA_WEIGHTS_BACKBONE},
    {"paper", "cait_m36_384.safetensors", "https://huggingface.co/timm/cait_m36_384.fb_dist_in1k/resolve/main/model.safetensors",
     "cait_m36_384.safetensors", NULL, MFFA_WEIGHTS_TRANSFORMER},
};

typedef struct folder {
    const char *dir, *mirror; /* mirror: NULL, or where all files lie under the publisher's names */
    mffa_progress_line line;
} folder;

static char *path_in(const folder *f, const char *name) {
    char *path = NULL;
    return asprintf(&path, "%s/%s", f->dir, name) < 0 ? NULL : path;
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* ---- hashes: the publisher's, or those of the first time, kept in <dir>/SHA256SUMS as sha256sum writes them ---- */

static mffa_code recorded_hash(const folder *f, const char *file, char out[MFFA_SHA256_HEX], mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = path_in(f, "SHA256SUMS");
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    *out = '\0';
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (!exists(path)) return MFFA_OK;
    mffa_code rc = mffa_buf_read_file(&text, path, 1 << 16, err);
    char *rest = text.ptr;
    for (char *row; !rc && (row = strsep(&rest, "\n"));)
        if (strlen(row) > 66 && strcmp(row + 66, file) == 0) snprintf(out, MFFA_SHA256_HEX, "%.64s", row);
    return rc;
}

static mffa_code record_hash(const folder *f, const char *file, const char *sha256, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = path_in(f, "SHA256SUMS");
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    MFFA_AUTO(mffa_fclose_p) FILE *out = fopen(path, "ae");
    if (!out || fprintf(out, "%s  %s\n", sha256, file) < 0 || fflush(out) != 0)
        return mffa_fail(err, MFFA_EIO, "could not write \"%s\": %s", path, strerror(errno));
    printf("%s: nobody publishes its hash; recorded this one's in %s\n", file, path);
    return MFFA_OK;
}

/* sha256: of the file; *new_one: nothing is known that it could be compared with. */
static mffa_code check_hash(const folder *f, const published *p, const char *path, char sha256[MFFA_SHA256_HEX], bool *new_one,
                            mffa_err *err) {
    char known[MFFA_SHA256_HEX] = "";
    mffa_code rc = mffa_sha256_file(path, sha256, err);
    if (!rc && !p->digits) rc = recorded_hash(f, p->file, known, err);
    if (rc) return rc;
    *new_one = !p->digits && !*known;
    if (*new_one) return MFFA_OK;
    const char *wanted = p->digits ? p->digits : known;
    if (strncmp(sha256, wanted, strlen(wanted)) == 0) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL,
                     "\"%s\" is not the published %s: its SHA-256 begins with %.8s, %.8s is expected; remove it and try again", path,
                     p->file, sha256, wanted);
}

/* ---- one file ---- */

static mffa_code check_kind(const published *p, const char *path, mffa_err *err) {
    mffa_weights_kind kind;
    mffa_code rc = mffa_weights_kind_of(path, &kind, err);
    if (rc || kind == p->kind) return rc;
    return mffa_fail(err, MFFA_EINVAL, "\"%s\" holds no %s", path,
                     p->kind == MFFA_WEIGHTS_BACKBONE ? "ResNet with torchvision's names" : "CaiT with timm's names");
}

static mffa_code convert(const char *from, const char *to, mffa_err *err) {
    MFFA_AUTO(mffa_pth_close_p) mffa_pth *f = NULL;
    mffa_code rc = mffa_pth_open(from, &f, err);
    return rc ? rc : mffa_pth_convert(f, to, err);
}

/* The publisher's file at `source` is right: it becomes what jobs want, in one step. */
static mffa_code take_in(const published *p, const char *source, const char *to, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *part = NULL;
    if (asprintf(&part, "%s.part", to) < 0) return part = NULL, mffa_fail(err, MFFA_ENOMEM, "out of memory");
    bool pth = strcmp(strrchr(p->file, '.'), ".pth") == 0;
    mffa_code rc = pth ? convert(source, part, err) : MFFA_OK;
    const char *ready = pth ? part : source;
    if (!rc) rc = check_kind(p, ready, err);
    if (!rc && rename(ready, to) != 0) rc = mffa_fail(err, MFFA_EIO, "could not write \"%s\": %s", to, strerror(errno));
    if (rc && pth) (void)unlink(part);
    if (!rc && pth) (void)unlink(source);
    return rc;
}

static mffa_code fetch(folder *f, const published *p, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf url = {0};
    if (f->mirror) mffa_buf_putf(&url, "%s/%s", f->mirror, p->file);
    else mffa_buf_puts(&url, p->url);
    mffa_progress watch = mffa_progress_line_watch(&f->line);
    mffa_err why = {0};
    mffa_code rc = mffa_buf_check(&url, err);
    if (rc) return rc;
    snprintf(f->line.label, sizeof f->line.label, "%s", p->file);
    rc = mffa_download(mffa_buf_text(&url), path, &watch, &why);
    mffa_progress_line_end(&f->line, !rc);
    if (rc) (void)unlink(path);
    return rc ? mffa_fail(err, rc, "%s; where another machine reaches it, put it as \"%s\" into \"%s\" and type this again", why.msg,
                          p->file, f->dir)
              : MFFA_OK;
}

/* source becomes `ready`; its hash is recorded once it has turned out to be what it should be. */
static mffa_code check_and_take_in(const folder *f, const published *p, const char *source, const char *ready, mffa_err *err) {
    char sha256[MFFA_SHA256_HEX];
    bool new_one = false;
    mffa_code rc = check_hash(f, p, source, sha256, &new_one, err);
    if (!rc) rc = strcmp(source, ready) == 0 ? check_kind(p, ready, err) : take_in(p, source, ready, err);
    return !rc && new_one ? record_hash(f, p->file, sha256, err) : rc;
}

static mffa_code provide(folder *f, const published *p, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *ready = path_in(f, p->becomes);
    MFFA_AUTO(mffa_free_p) char *put_there = path_in(f, p->file);
    MFFA_AUTO(mffa_free_p) char *fetched = NULL;
    if (!ready || !put_there || asprintf(&fetched, "%s.fetched", ready) < 0) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    bool converted = strcmp(p->becomes, p->file) != 0, there = exists(put_there);
    mffa_code rc = MFFA_OK;
    if (converted && exists(ready)) { /* its source is gone: only its kind can be checked */
        rc = check_kind(p, ready, err);
        if (!rc) printf("%s is there already\n", ready);
        return rc;
    }
    const char *source = there ? put_there : fetched;
    if (!there) rc = fetch(f, p, fetched, err);
    if (!rc) rc = check_and_take_in(f, p, source, ready, err);
    if (rc && !there) (void)unlink(fetched);
    if (!rc && there && !converted) printf("%s is there already\n", ready);
    else if (!rc) printf("%s: from %s%s\n", ready, p->file, p->digits ? ", its hash is the publisher's" : "");
    return rc;
}

static bool is_profile(const char *name) {
    for (size_t i = 0; i < MFFA_COUNT(files); i++)
        if (strcmp(files[i].profile, name) == 0) return true;
    return false;
}

mffa_code mffa_command_weights(const mffa_command *c, mffa_err *err) {
    if (c->count != 2) return mffa_fail(err, MFFA_EINVAL, "weights needs a profile and a folder: mffactl weights small|paper DIR");
    if (!is_profile(c->words[0])) return mffa_fail(err, MFFA_EINVAL, "weights \"%s\": expected small or paper", c->words[0]);
    folder f = {.dir = c->words[1], .mirror = c->config->weights_mirror};
    if (mkdir(f.dir, 0777) != 0 && errno != EEXIST)
        return mffa_fail(err, MFFA_EIO, "cannot make the folder \"%s\": %s", f.dir, strerror(errno));
    mffa_progress_line_init(&f.line, stdout, "");
    for (size_t i = 0; i < MFFA_COUNT(files); i++) {
        mffa_code rc = strcmp(files[i].profile, c->words[0]) == 0 ? provide(&f, &files[i], err) : MFFA_OK;
        if (rc) return rc;
    }
    return MFFA_OK;
}
