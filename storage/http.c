#include "storage/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "core/base/clock.h"

enum { ERROR_TEXT_MAX = 1 << 16, HEADERS_MAX = 1 << 16, PIECE_BYTES = 1 << 18 };

typedef struct transfer {
    struct transfer *next;
    struct mffa_http *http;
    bool paused; /* more has come than the limit allows yet */
    CURL *curl;
    struct curl_slist *headers;
    const mffa_http_request *request;
    mffa_http_answer *answer;
    mffa_http_body body;
    int64_t sent; /* of body */
    void *tag;
    char reason[CURL_ERROR_SIZE];
} transfer;

struct mffa_http {
    const mffa_http_options *options;
    CURLM *multi;
    transfer *running, *idle; /* lists */
    int64_t next_us; /* when the next byte may be taken, with a limit */
};

static void start_curl(void) { (void)curl_global_init(CURL_GLOBAL_DEFAULT); }

mffa_code mffa_http_open(const mffa_http_options *o, mffa_http **out, mffa_err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    mffa_http *h = calloc(1, sizeof *h);
    if (h) h->multi = curl_multi_init();
    if (!h || !h->multi) {
        free(h);
        return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    }
    h->options = o;
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)o->connections);
    *out = h;
    return MFFA_OK;
}

static void transfer_close(transfer *t) {
    curl_slist_free_all(t->headers);
    curl_easy_cleanup(t->curl);
    free(t);
}

void mffa_http_cancel(mffa_http *h) {
    for (transfer *t; (t = h->running);) {
        h->running = t->next;
        curl_multi_remove_handle(h->multi, t->curl);
        transfer_close(t); /* with its connection: an answer may still be on the way in it */
    }
}

void mffa_http_close(mffa_http *h) {
    if (!h) return;
    mffa_http_cancel(h);
    for (transfer *t; (t = h->idle);) h->idle = t->next, transfer_close(t);
    curl_multi_cleanup(h->multi);
    free(h);
}

void mffa_http_answer_done(mffa_http_answer *a) {
    mffa_buf_done(&a->headers);
    mffa_buf_done(&a->text);
    *a = (mffa_http_answer){0};
}

const char *mffa_http_header(const mffa_http_answer *a, const char *name, char *out, size_t room) {
    size_t n = strlen(name);
    out[0] = '\0';
    for (const char *at = mffa_buf_text(&a->headers); *at; at += strcspn(at, "\n"), at += *at == '\n') {
        if (strncasecmp(at, name, n) != 0 || at[n] != ':') continue;
        const char *value = at + n + 1 + strspn(at + n + 1, " \t\r"), *end = value + strcspn(value, "\n");
        while (end > value && strchr(" \t\r", end[-1])) end--;
        if ((size_t)(end - value) < room) snprintf(out, room, "%.*s", (int)(end - value), value);
        return out;
    }
    return out;
}

/* A number and the character behind it; NULL: something else stands there. */
static const char *read_number(const char *at, char end, int64_t *out) {
    char *behind = NULL;
    errno = 0;
    *out = *at >= '0' && *at <= '9' ? strtoll(at, &behind, 10) : -1;
    return *out >= 0 && !errno && *behind == end ? behind + (end != '\0') : NULL;
}

bool mffa_http_read_range(const mffa_http_answer *a, mffa_http_range *out) {
    char text[96];
    mffa_http_range r = {0};
    const char *at = mffa_http_header(a, "Content-Range", text, sizeof text);
    at = strncasecmp(at, "bytes ", 6) == 0 ? read_number(at + 6, '-', &r.first) : NULL;
    if (at) at = read_number(at, '/', &r.last);
    if (at) at = read_number(at, '\0', &r.total);
    if (!at || r.last < r.first || r.total <= r.last) return false;
    *out = r;
    return true;
}

int64_t mffa_http_date_s(const char *text) { return *text ? (int64_t)curl_getdate(text, NULL) : -1; }

/* ---- what curl calls ---- */

static size_t on_header(char *bytes, size_t one, size_t len, void *ctx) {
    (void)one;
    transfer *t = ctx;
    mffa_http_answer *a = t->answer;
    if (len >= 5 && memcmp(bytes, "HTTP/", 5) == 0) { /* 100 Continue comes before the answer proper */
        mffa_buf_clear(&a->headers);
        const char *blank = memchr(bytes, ' ', len);
        a->status = blank && bytes + len - blank >= 4 ? (int)strtol(blank, NULL, 10) : 0; /* a line always has its end behind the number */
        return len;
    }
    size_t n = len;
    while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r')) n--;
    if (n == 0 || a->headers.len + n > HEADERS_MAX || memchr(bytes, '\0', n)) return len;
    mffa_buf_put(&a->headers, bytes, n);
    mffa_buf_puts(&a->headers, "\n");
    return len;
}

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* curl's own limit lets through what lies in the socket already (7.88): megabytes. */
static bool must_wait(const mffa_http *h) { return h->options->bytes_per_s > 0 && h->next_us > now_us(); }

static void note_taken(mffa_http *h, size_t len) {
    int64_t now = h->options->bytes_per_s > 0 ? now_us() : 0;
    if (now) h->next_us = (h->next_us > now ? h->next_us : now) + (int64_t)((double)len * 1e6 / (double)h->options->bytes_per_s);
}

static size_t on_body(char *bytes, size_t one, size_t len, void *ctx) {
    (void)one;
    transfer *t = ctx;
    mffa_http_answer *a = t->answer;
    if (must_wait(t->http)) return t->paused = true, CURL_WRITEFUNC_PAUSE;
    note_taken(t->http, len);
    if (a->status < 200 || a->status > 299) {
        if (a->text.len < ERROR_TEXT_MAX)
            mffa_buf_put(&a->text, bytes, len < ERROR_TEXT_MAX - a->text.len ? len : ERROR_TEXT_MAX - a->text.len);
        return len;
    }
    if (a->got == 0) {
        curl_off_t length = -1;
        curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        a->length = length;
    }
    if (t->request->sink && t->request->sink(t->request->ctx, a, a->got, (mffa_span){bytes, len}, &a->err)) {
        a->failure = MFFA_HTTP_REFUSED;
        return CURL_WRITEFUNC_ERROR;
    }
    a->got += (int64_t)len;
    return len;
}

static size_t on_read(char *out, size_t one, size_t room, void *ctx) {
    transfer *t = ctx;
    int64_t left = t->body.length - t->sent;
    size_t n = one * room;
    if ((int64_t)n > left) n = (size_t)left;
    if (n == 0) return 0;
    if (t->body.fd < 0) memcpy(out, (const char *)t->body.bytes + t->sent, n);
    else {
        ssize_t got = pread(t->body.fd, out, n, t->body.offset + t->sent);
        if (got <= 0) {
            t->answer->failure = MFFA_HTTP_REFUSED;
            mffa_fail(&t->answer->err, MFFA_EIO, "could not read what was to be sent: %s",
                      got < 0 ? strerror(errno) : "the file became shorter");
            return CURL_READFUNC_ABORT;
        }
        n = (size_t)got;
    }
    t->sent += (int64_t)n;
    return n;
}

static int on_seek(void *ctx, curl_off_t offset, int origin) { /* curl sends it again when a kept connection turned out to be dead */
    transfer *t = ctx;
    if (origin != SEEK_SET || offset < 0 || offset > t->body.length) return CURL_SEEKFUNC_FAIL;
    t->sent = offset;
    return CURL_SEEKFUNC_OK;
}

/* ---- one request ---- */

static bool set_headers(transfer *t, const char *lines) {
    bool fine = true;
    for (const char *at = lines; *at && fine;) {
        size_t n = strcspn(at, "\n");
        char *line = strndup(at, n);
        struct curl_slist *more = line ? curl_slist_append(t->headers, line) : NULL;
        free(line);
        fine = more;
        if (more) t->headers = more;
        at += n + (at[n] == '\n');
    }
    struct curl_slist *more = fine ? curl_slist_append(t->headers, "Expect:") : NULL;
    if (more) t->headers = more;
    return more;
}

static void set_limits(CURL *c, const mffa_http_options *o, int64_t timeout_ms) {
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_ms);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(timeout_ms > 1 ? timeout_ms : 1));
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)((o->stall_ms + 999) / 1000));
    if (o->bytes_per_s) curl_easy_setopt(c, CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)(o->bytes_per_s / o->connections + 1));
}

static void set_transport(CURL *c, const mffa_http_options *o) {
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L); /* a key may have dots that look like a path's */
    curl_easy_setopt(c, CURLOPT_USERAGENT, "mffa/" MFFA_VERSION);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)PIECE_BYTES);
    curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, (long)PIECE_BYTES);
    if (o->direct) curl_easy_setopt(c, CURLOPT_PROXY, "");
    if (o->ca_file) curl_easy_setopt(c, CURLOPT_CAINFO, o->ca_file);
    if (o->unverified) curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L), curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
}

static void set_request(transfer *t, const mffa_http_request *r) {
    CURL *c = t->curl;
    curl_easy_setopt(c, CURLOPT_URL, r->url);
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, r->method);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->reason);
    curl_easy_setopt(c, CURLOPT_PRIVATE, t);
    if (strcmp(r->method, "HEAD") == 0) curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    if (!r->body) return;
    curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body->length);
    curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(c, CURLOPT_READDATA, t);
    curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
}

static transfer *take_idle(mffa_http *h) {
    transfer *t = h->idle;
    if (t) {
        h->idle = t->next;
        curl_slist_free_all(MFFA_TAKE(t->headers));
        curl_easy_reset(t->curl);
        *t = (transfer){.curl = t->curl};
        return t;
    }
    t = calloc(1, sizeof *t);
    if (t) t->curl = curl_easy_init();
    if (t && !t->curl) free(t), t = NULL;
    return t;
}

mffa_code mffa_http_start(mffa_http *h, const mffa_http_request *r, mffa_http_answer *a, void *tag, mffa_err *err) {
    transfer *t = take_idle(h);
    if (!t) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    t->http = h, t->request = r, t->answer = a, t->tag = tag;
    if (r->body) t->body = *r->body;
    mffa_buf_clear(&a->headers);
    mffa_buf_clear(&a->text);
    a->status = 0, a->length = -1, a->got = 0, a->failure = MFFA_HTTP_FINE, a->err = (mffa_err){0};
    if (!set_headers(t, r->headers)) return transfer_close(t), mffa_fail(err, MFFA_ENOMEM, "out of memory");
    set_transport(t->curl, h->options);
    set_limits(t->curl, h->options, r->timeout_ms);
    set_request(t, r);
    if (curl_multi_add_handle(h->multi, t->curl) != CURLM_OK) return transfer_close(t), mffa_fail(err, MFFA_ENOMEM, "out of memory");
    t->next = h->running;
    h->running = t;
    return MFFA_OK;
}

/* ---- answers ---- */

static mffa_http_failure failure_of(CURLcode code) {
    switch (code) {
    case CURLE_OK: return MFFA_HTTP_FINE;
    case CURLE_COULDNT_CONNECT: case CURLE_COULDNT_RESOLVE_HOST: case CURLE_COULDNT_RESOLVE_PROXY: return MFFA_HTTP_UNREACHED;
    case CURLE_PEER_FAILED_VERIFICATION: case CURLE_SSL_CACERT_BADFILE: case CURLE_SSL_ISSUER_ERROR: case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER: return MFFA_HTTP_UNTRUSTED;
    case CURLE_OUT_OF_MEMORY: case CURLE_URL_MALFORMAT: case CURLE_UNSUPPORTED_PROTOCOL: case CURLE_FAILED_INIT: return MFFA_HTTP_BROKEN;
    default: return MFFA_HTTP_LOST;
    }
}

static void conclude(transfer *t, CURLcode code) {
    mffa_http_answer *a = t->answer;
    curl_off_t length = -1;
    if (code == CURLE_OK) curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length), a->length = length;
    if (a->failure == MFFA_HTTP_REFUSED) return; /* its reason is there already */
    a->failure = failure_of(code);
    if (code != CURLE_OK) mffa_fail(&a->err, MFFA_EIO, "%s", *t->reason ? t->reason : curl_easy_strerror(code));
    if (a->failure == MFFA_HTTP_FINE && (a->headers.failed || a->text.failed)) {
        a->failure = MFFA_HTTP_BROKEN;
        mffa_fail(&a->err, MFFA_ENOMEM, "out of memory");
    }
}

static void *take_finished(mffa_http *h) {
    int more;
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &more));) {
        if (m->msg != CURLMSG_DONE) continue;
        transfer *t = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        curl_multi_remove_handle(h->multi, t->curl);
        for (transfer **at = &h->running; *at; at = &(*at)->next)
            if (*at == t) { *at = t->next; break; }
        conclude(t, code);
        t->next = h->idle;
        h->idle = t;
        return t->tag;
    }
    return NULL;
}

/* Lets those go on that waited for the limit, one by one; the time until the next may. */
static int64_t resume(mffa_http *h, int64_t left) {
    for (transfer *t = h->running; t; t = t->next) {
        if (!t->paused) continue;
        if (must_wait(h)) {
            int64_t wait = (h->next_us - now_us()) / 1000 + 1;
            return wait < left ? wait : left;
        }
        t->paused = false;
        curl_easy_pause(t->curl, CURLPAUSE_CONT); /* hands over what it holds, at once */
    }
    return left;
}

void *mffa_http_wait(mffa_http *h, int64_t timeout_ms) {
    int64_t until = mffa_now_ms() + timeout_ms;
    for (;;) {
        int running = 0;
        void *tag = take_finished(h);
        if (tag) return tag;
        curl_multi_perform(h->multi, &running);
        tag = take_finished(h);
        int64_t left = until - mffa_now_ms();
        if (tag || left <= 0) return tag;
        left = resume(h, left);
        curl_multi_poll(h->multi, NULL, 0, (int)(left < 60000 ? left : 60000), NULL);
    }
}
