/* fuzz_NAME -runs=N -seed=N CORPUS_FOLDER: every file of the corpus, then N changes of them; the same seed gives the same inputs.
 * The input that is being tried lies in fuzz-input.<pid>, and stays there when the program dies of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "core/base/buf.h"
#include "core/base/rng.h"
#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 16, FILES_MAX = 256 };

static mffa_buf files[FILES_MAX];
static size_t count;
static mffa_rng rng;

static size_t below(size_t n) { return (size_t)mffa_rng_below(&rng, n); }

static int load(const char *folder) {
    struct dirent **names = NULL;
    int n = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char path[4096];
        mffa_err err = {0};
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (*names[i]->d_name != '.' && count < FILES_MAX && mffa_buf_read_file(&files[count], path, INPUT_MAX / 2, &err))
            return fprintf(stderr, "%s\n", err.msg), 1;
        count += *names[i]->d_name != '.' && count < FILES_MAX;
        free(names[i]);
    }
    free(names);
    return count == 0 ? fprintf(stderr, "\"%s\": no corpus\n", folder), 1 : 0;
}

/* len bytes at `at` are replaced by those of with. */
static void replace(mffa_buf *b, size_t at, size_t len, mffa_span with) {
    MFFA_AUTO(mffa_buf_done) mffa_buf rest = {0};
    mffa_buf_put(&rest, mffa_buf_text(b) + at + len, b->len - at - len);
    b->len = at;
    mffa_buf_put(b, with.ptr, with.len);
    mffa_buf_put(b, mffa_buf_text(&rest), rest.len);
}

static void change(mffa_buf *b) {
    static const char *const odd[] = {"<", ">", "</", "&#x0;", "&amp;", "<![CDATA[", "<!DOCTYPE a [", "\"", "\\u0000", "\r\n", ":", "=",
                                      "%", "%00", "-1", "9223372036854775808", "\xFF\xFE", "\xC0\x80", ""};
    size_t at = below(b->len + 1), left = b->len - at, len = left ? below(left < 32 ? left + 1 : 33) : 0;
    const mffa_buf *other = &files[below(count)];
    size_t from = below(other->len + 1), some = below(other->len - from + 1);
    const char *word = odd[below(sizeof odd / sizeof *odd)];
    uint8_t byte = (uint8_t)below(256);
    switch (below(6)) {
    case 0: replace(b, at, len, (mffa_span){"", 0}); break;
    case 1: replace(b, at, left > 0, (mffa_span){&byte, 1}); break;
    case 2: replace(b, at, 0, mffa_span_of(word)); break;
    case 3: replace(b, at, len, mffa_span_of(word)); break;
    case 4: replace(b, at, 0, (mffa_span){mffa_buf_text(other) + from, some}); break;
    default: b->len = at; /* it breaks off */
    }
    if (b->len > INPUT_MAX) b->len = INPUT_MAX;
}

static void try(int fd, const mffa_buf *b) {
    FUZZ_RULE(ftruncate(fd, 0) == 0 && pwrite(fd, mffa_buf_text(b), b->len, 0) == (ssize_t)b->len);
    uint8_t *exact = malloc(b->len + !b->len); /* a byte beyond it is a byte too many */
    FUZZ_RULE(exact);
    memcpy(exact, mffa_buf_text(b), b->len);
    (void)LLVMFuzzerTestOneInput(exact, b->len);
    free(exact);
}

static void run(int fd, long runs) {
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    for (size_t i = 0; i < count; i++) try(fd, &files[i]);
    for (long i = 0; i < runs; i++) {
        const mffa_buf *base = &files[below(count)];
        mffa_buf_clear(&b);
        mffa_buf_put(&b, mffa_buf_text(base), base->len);
        for (size_t n = 1 + below(4); n > 0; n--) change(&b);
        try(fd, &b);
    }
}

int main(int argc, char **argv) {
    long runs = 0;
    char name[64];
    int rc = 0;
    mffa_rng_init(&rng, 1, 0);
    for (int i = 1; i < argc && !rc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0) runs = strtol(argv[i] + 6, NULL, 10);
        else if (strncmp(argv[i], "-seed=", 6) == 0) mffa_rng_init(&rng, strtoull(argv[i] + 6, NULL, 10), 0);
        else rc = load(argv[i]);
    }
    if (rc || count == 0) return 2;
    snprintf(name, sizeof name, "fuzz-input.%d", (int)getpid());
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fprintf(stderr, "cannot write \"%s\": %s\n", name, strerror(errno)), 2;
    run(fd, runs);
    printf("%zu files, %ld changes of them\n", count, runs);
    for (size_t i = 0; i < count; i++) mffa_buf_done(&files[i]);
    return close(fd) | unlink(name);
}
