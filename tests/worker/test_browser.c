/* The report in a real browser: every heat map is shown, whatever its picture is called, no name is taken for markup, and nothing is wider
 * than a small window. */
#include "storage/store.h"
#include "tests/support/test.h"
#include "tests/worker/world.h"

enum { PAGE_BYTES = 4 << 20 };

static world w;
static char folder[512]; /* of the run */

/* What the page looks like from inside, as text that stands in the DOM afterwards. */
static const char look[] =
    "<script>addEventListener('load', () => {\n"
    "  const all = [...document.images], root = document.documentElement\n"
    "  const told = document.createElement('p')\n"
    "  told.textContent = `pictures=${all.length} shown=${all.filter(i => i.complete && i.naturalWidth > 0).length}`\n"
    "    + ` captions=${document.querySelectorAll('figcaption').length} overflow=${root.scrollWidth > root.clientWidth}`\n"
    "    + ` hurt=${'hurt' in window} broken=${all.filter(i => i.naturalWidth === 0).map(i => i.src)}`\n"
    "  document.body.append(told)\n"
    "})</script>";

static void see(int width_px, const char *expected) {
    MFFA_AUTO(mffa_buf_done) mffa_buf page = {0};
    char path[600];
    mffa_err err = {0};
    world_shell("sed 's/loading=\"lazy\"//' '%s/report.html' >'%s/looked-at.html'", folder, folder); /* no window is high enough */
    snprintf(path, sizeof path, "%s/looked-at.html", folder);
    FILE *f = fopen(path, "a");
    assert_true(f && fputs(look, f) >= 0 && fclose(f) == 0);
    world_shell("timeout 120 chromium --headless --no-sandbox --disable-gpu --user-data-dir='%s/browser' --window-size=%d,900 "
                "--virtual-time-budget=20000 --dump-dom 'file://%s/looked-at.html' >'%s/dom.html' 2>'%s/browser.log'",
                w.dir, width_px, folder, w.dir, w.dir);
    snprintf(path, sizeof path, "%s/dom.html", w.dir);
    assert_ok(mffa_buf_read_file(&page, path, PAGE_BYTES, &err));
    const char *told = strstr(mffa_buf_text(&page), "<p>pictures=");
    if (!told || strncmp(told + 3, expected, strlen(expected)) != 0)
        fail_msg("%d px wide: expected \"%s\", seen: %.300s", width_px, expected, told ? told + 3 : "nothing");
}

static void every_heat_map_is_shown_whatever_its_picture_is_called(void **state) {
    (void)state;
    static const char *const names[] = {"plain.png",
                                        "a b.png",
                                        "100%25.png",
                                        "50%.png",
                                        "x#1?y=2.png",
                                        "double\"quote.png",
                                        "it's & more.png",
                                        "<img src=x onerror=hurt=1>.png",
                                        "\xc3\xbcml\xc3\xa4ut.png",
                                        "a;b:c,d.png"};
    world_shell("mkdir '%s/odd'", w.dir);
    for (size_t i = 0; i < MFFA_COUNT(names); i++) {
        char from[128], to[192];
        snprintf(from, sizeof from, "%s/dataset/test/good/000.png", w.dir);
        snprintf(to, sizeof to, "%s/odd/%s", w.dir, names[i]);
        assert_int_equal(link(from, to), 0);
    }
    char model[64];
    snprintf(model, sizeof model, "%s",
             world_submit(&w, "fit dataset file://%s/dataset output file://%s/out side 64 blocks 0 ratio 0.1 gaussian_channels 8", w.dir,
                          w.dir));
    const char *id = world_submit(&w, "score model %s dataset file://%s/odd output file://%s/out", model, w.dir, w.dir);
    world_wait(&w, id, "done");
    snprintf(folder, sizeof folder, "%s", mffa_test_field(&w.redis, id, "result") + strlen("file://"));
    see(1300, "pictures=10 shown=10 captions=10 overflow=false hurt=false broken=<");
    see(500, "pictures=10 shown=10 captions=10 overflow=false hurt=false broken=<");
}

static int start(void **state) {
    (void)state;
    world_open(&w, 4, 64);
    world_worker(&w, NULL);
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_close(&w);
    return 0;
}

int main(void) {
    if (system("command -v chromium >/dev/null") != 0) {
        printf("skipped: chromium is not on the PATH (./run test brings it)\n");
        return MFFA_TEST_SKIP;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_heat_map_is_shown_whatever_its_picture_is_called)};
    return cmocka_run_group_tests(tests, start, stop);
}
