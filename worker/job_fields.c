/* A job's fields as typed values. The functions in Redis check them too; a worker does not rely on it, since records can be written
 * by hand or come from another version. */
#include "worker/job.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include "storage/url.h"

const char *mffa_job_text(const mffa_job *j, const char *name, const char *otherwise) {
    const char *v = mffa_json_text(mffa_json_get(j->fields, name), "");
    return *v ? v : otherwise;
}

mffa_code mffa_job_int(const mffa_job *j, const char *name, int64_t min, int64_t max, int64_t *inout, mffa_err *err) {
    const char *text = mffa_job_text(j, name, NULL);
    if (!text) return MFFA_OK;
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || *end || v < min || v > max)
        return mffa_fail(err, MFFA_EINVAL, "%s=\"%.60s\": expected an integer from %lld to %lld", name, text, (long long)min,
                         (long long)max);
    *inout = v;
    return MFFA_OK;
}

mffa_code mffa_job_num(const mffa_job *j, const char *name, double *inout, mffa_err *err) {
    const char *text = mffa_job_text(j, name, NULL);
    if (!text) return MFFA_OK;
    char *end = NULL;
    double v = strtod(text, &end);
    if (*end || !isfinite(v)) return mffa_fail(err, MFFA_EINVAL, "%s=\"%.60s\": expected a number", name, text);
    *inout = v;
    return MFFA_OK;
}

mffa_code mffa_job_choice(const mffa_job *j, const char *name, const char *choices, const char *otherwise, const char **out,
                          mffa_err *err) {
    const char *text = mffa_job_text(j, name, otherwise);
    size_t n = strlen(text);
    for (const char *c = choices; c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
        if (strncmp(c, text, n) == 0 && (c[n] == '|' || c[n] == '\0')) return *out = text, MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "%s=\"%.60s\": expected one of %s", name, text, choices);
}

mffa_code mffa_job_profile(const mffa_job *j, mffa_profile *out, mffa_err *err) {
    mffa_profile p;
    mffa_code rc = mffa_profile_named(mffa_job_text(j, "profile", "small"), &p, err);
    if (rc) return rc;
    int64_t side = p.side, grid = p.grid, blocks = p.blocks, channels = p.gaussian_channels, seed = (int64_t)p.seed;
    const char *keep = "no";
    rc = mffa_job_int(j, "side", 64, 1024, &side, err);
    if (!rc) rc = mffa_job_int(j, "grid", 1, 256, &grid, err);
    if (!rc) rc = mffa_job_int(j, "blocks", 0, 11, &blocks, err);
    if (!rc) rc = mffa_job_int(j, "gaussian_channels", 1, INT32_MAX, &channels, err);
    if (!rc) rc = mffa_job_int(j, "seed", 0, INT64_MAX, &seed, err);
    if (!rc) rc = mffa_job_num(j, "ratio", &p.ratio, err);
    if (!rc) rc = mffa_job_num(j, "lambda", &p.lambda, err);
    if (!rc) rc = mffa_job_num(j, "sigma", &p.sigma, err);
    if (!rc) rc = mffa_job_choice(j, "keep_statistics", "no|yes", "no", &keep, err);
    p.side = (int)side, p.blocks = (int)blocks, p.gaussian_channels = (int)channels, p.seed = (uint64_t)seed;
    /* a smaller side makes the largest feature map smaller than the profile's grid; a grid that the job names itself is checked */
    p.grid = mffa_job_text(j, "grid", NULL) || grid <= side / 4 ? (int)grid : (int)(side / 4);
    p.keep_statistics = strcmp(keep, "yes") == 0;
    if (!rc) rc = mffa_profile_check(&p, err);
    if (!rc) *out = p;
    return rc;
}

mffa_code mffa_job_allows(const mffa_job *j, const char *name, const char *url, mffa_err *err) {
    mffa_code rc = mffa_url_allowed(url, j->config->allowed_urls, err);
    return rc ? mffa_wrap(err, rc, "%s", name) : MFFA_OK;
}
