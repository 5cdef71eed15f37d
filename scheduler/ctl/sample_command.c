#include <errno.h>
#include <string.h>
#include "scheduler/ctl/command.h"
#include "scheduler/ctl/progress_line.h"
#include "scheduler/ctl/sample.h"

/* The ranges are mffa_sample_write's own: here it need only be a number. */
static mffa_code read_number(const char *name, const char *text, int64_t most, int64_t *out, mffa_err *err) {
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || end == text || *end || v < 0 || v > most)
        return mffa_fail(err, MFFA_EINVAL, "%s=\"%s\": expected an integer from 0 to %lld", name, text, (long long)most);
    *out = v;
    return MFFA_OK;
}

static mffa_code read_options(const mffa_command *c, mffa_sample_options *o, mffa_err *err) {
    struct { const char *name; int *at; } numbers[] = {
        {"train", &o->train}, {"good", &o->good}, {"defects", &o->defects_per_kind}, {"side", &o->side_px}};
    for (int i = 1; i < c->count; i += 2) {
        const char *name = c->words[i];
        int64_t v = 0;
        size_t k = 0;
        if (i + 1 == c->count) return mffa_fail(err, MFFA_EINVAL, "%s needs a value", name);
        if (strcmp(name, "profile") == 0) {
            o->profile = c->words[i + 1];
            continue;
        }
        mffa_code rc = read_number(name, c->words[i + 1], strcmp(name, "seed") == 0 ? INT64_MAX : 1000000, &v, err);
        while (k < MFFA_COUNT(numbers) && strcmp(numbers[k].name, name) != 0) k++;
        if (k == MFFA_COUNT(numbers) && strcmp(name, "seed") != 0)
            return mffa_fail(err, MFFA_EINVAL, "sample does not know \"%s\": it knows train, good, defects, side, seed and profile", name);
        if (rc) return rc;
        if (k < MFFA_COUNT(numbers)) *numbers[k].at = (int)v;
        else o->seed = (uint64_t)v;
    }
    return MFFA_OK;
}

mffa_code mffa_command_sample(const mffa_command *c, mffa_err *err) {
    mffa_sample_options o = mffa_sample_defaults();
    mffa_progress_line line;
    if (c->count < 1) return mffa_fail(err, MFFA_EINVAL, "sample needs a folder: mffactl sample DIR");
    mffa_code rc = read_options(c, &o, err);
    if (rc) return rc;
    mffa_progress_line_init(&line, stdout, "sample");
    mffa_progress watch = mffa_progress_line_watch(&line);
    rc = mffa_sample_write(c->words[0], &o, &watch, err);
    mffa_progress_line_end(&line, !rc);
    if (!rc) printf("made %s/dataset and %s/weights\n", c->words[0], c->words[0]);
    return rc;
}
