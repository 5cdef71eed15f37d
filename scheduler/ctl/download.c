#include "scheduler/ctl/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CONNECT_S = 15, SLOW_S = 30, SLOW_BYTES = 1000, REDIRECTS = 5 };

static int on_progress(void *ctx, curl_off_t total, curl_off_t done, curl_off_t up_total, curl_off_t up) {
    (void)up_total, (void)up;
    return done && mffa_tick(ctx, "bytes", done, total, NULL) ? 1 : 0;
}

static void easy_close(CURL **c) { curl_easy_cleanup(*c); }

static mffa_code perform(CURL *curl, const char *url, FILE *out, const mffa_progress *progress, mffa_err *err) {
    char reason[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SLOW_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "mffactl/" MFFA_VERSION);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, progress);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    if (rc == CURLE_OK) return MFFA_OK;
    return mffa_fail(err, MFFA_EIO, "could not fetch \"%s\": %s", url, *reason ? reason : curl_easy_strerror(rc));
}

mffa_code mffa_download(const char *url, const char *path, const mffa_progress *progress, mffa_err *err) {
    FILE *out = fopen(path, "wbe");
    if (!out) return mffa_fail(err, MFFA_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    MFFA_AUTO(easy_close) CURL *curl = curl_easy_init();
    mffa_code rc = curl ? perform(curl, url, out, progress, err) : mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (fclose(out) != 0 && !rc) rc = mffa_fail(err, MFFA_EIO, "could not write \"%s\": %s", path, strerror(errno));
    return rc;
}
