/* The files that the aws command keeps: sections with lines "name = value". */
#include <ctype.h>
#include <string.h>
#include "storage/credentials_parts.h"

enum { FILE_BYTES_MAX = 1 << 20 };

typedef struct profile { /* what its sections say; of two the first file's counts */
    char *key_id, *secret, *token, *role, *token_file, *session;
    char *unknown; /* a way to get credentials that we have not */
    bool exists;
} profile;

static void wipe(char *text) {
    if (text) explicit_bzero(text, strlen(text));
    free(text);
}

static void profile_done(profile *p) {
    free(p->key_id), free(p->role), free(p->token_file), free(p->session), free(p->unknown);
    wipe(p->secret), wipe(p->token);
}

static char **place_of(profile *p, const char *name) {
    if (strcasecmp(name, "aws_access_key_id") == 0) return &p->key_id;
    if (strcasecmp(name, "aws_secret_access_key") == 0) return &p->secret;
    if (strcasecmp(name, "aws_session_token") == 0) return &p->token;
    if (strcasecmp(name, "role_arn") == 0) return &p->role;
    if (strcasecmp(name, "web_identity_token_file") == 0) return &p->token_file;
    if (strcasecmp(name, "role_session_name") == 0) return &p->session;
    return NULL;
}

static bool is_unknown_way(const char *name) {
    static const char *const ways[] = {"source_profile", "credential_source", "credential_process",
                                       "sso_session",    "sso_start_url",     "login_session"};
    for (size_t i = 0; i < MFFA_COUNT(ways); i++)
        if (strcasecmp(name, ways[i]) == 0) return true;
    return false;
}

static char *trim(char *text) {
    while (isspace((unsigned char)*text)) text++;
    for (size_t n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]);) text[--n] = '\0';
    return text;
}

/* A comment behind a value has a blank before it: a secret may hold "#". */
static void cut_comment(char *text) {
    for (char *at = text; *at; at++)
        if (isspace((unsigned char)*at) && (at[1] == '#' || at[1] == ';')) {
            *at = '\0';
            return;
        }
}

/* Is "[text" the head of our section? The config file says "[profile NAME]", but for "default". */
static bool is_section(char *text, const char *name, bool config) {
    char *end = strchr(text, ']');
    if (!end) return false;
    *end = '\0';
    text = trim(text + 1);
    if (strncmp(text, "profile", 7) == 0 && isspace((unsigned char)text[7])) return config && strcmp(trim(text + 7), name) == 0;
    return strcmp(text, name) == 0 && (!config || strcmp(name, "default") == 0);
}

static mffa_code read_line(profile *p, char *line, mffa_err *err) {
    char *equals = strchr(line, '=');
    if (!equals || isspace((unsigned char)*line)) return MFFA_OK; /* an indented line belongs to a setting with parts: none of ours */
    *equals = '\0';
    cut_comment(equals + 1);
    char *name = trim(line), *value = trim(equals + 1), **place = is_unknown_way(name) ? &p->unknown : place_of(p, name);
    if (!place || *place || !*value) return MFFA_OK;
    *place = strdup(place == &p->unknown ? name : value);
    return *place ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

static mffa_code read_file(profile *p, const char *path, const char *name, bool config, mffa_err *err) {
    MFFA_AUTO(mffa_secret_done) mffa_buf text = {0};
    mffa_code rc = mffa_buf_read_file(&text, path, FILE_BYTES_MAX, err);
    if (rc == MFFA_ENOTFOUND) return MFFA_OK;
    if (rc) return mffa_wrap(err, rc == MFFA_EIO || rc == MFFA_ENOMEM ? rc : MFFA_EDENIED, "the profile \"%.80s\"", name);
    bool ours = false;
    for (char *line = text.ptr, *next; line && *line && !rc; line = next) {
        size_t n = strcspn(line, "\n");
        next = line + n + (line[n] == '\n');
        line[n] = '\0';
        if (strchr("#;", *line)) continue;
        if (*line == '[') ours = is_section(line, name, config), p->exists |= ours;
        else if (ours) rc = read_line(p, line, err);
    }
    return rc;
}

/* The file that the variable names, else the one in the home folder; "" for neither. */
static mffa_code find_file(const char *variable, const char *usual, mffa_buf *out, mffa_err *err) {
    const char *given = mffa_environment(variable), *home = mffa_environment("HOME");
    if (given) mffa_buf_puts(out, given);
    else if (home) mffa_buf_putf(out, "%s/.aws/%s", home, usual);
    return mffa_buf_check(out, err);
}

static mffa_code conclude(const profile *p, const char *region, const char *name, mffa_grant *out, mffa_err *err) {
    if (p->key_id && p->secret) return mffa_grant_fill(out, p->key_id, p->secret, p->token, 0, err);
    if (p->key_id || p->secret)
        return mffa_fail(err, MFFA_EDENIED, "the profile \"%.80s\" has only one of aws_access_key_id and aws_secret_access_key", name);
    if (p->role && p->token_file) return mffa_grant_assume(region, p->token_file, p->role, p->session, out, err);
    if (p->unknown)
        return mffa_fail(err, MFFA_EDENIED, "the profile \"%.80s\" gets its credentials by %s, which is not known here: export them first, "
                         "with aws configure export-credentials", name, p->unknown);
    return mffa_fail(err, MFFA_ENOTFOUND, "the profile \"%.80s\" has none", name);
}

mffa_code mffa_grant_from_profile(const char *region, mffa_grant *out, mffa_err *err) {
    MFFA_AUTO(profile_done) profile p = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf credentials = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf config = {0};
    const char *chosen = mffa_environment("AWS_PROFILE"), *name = chosen ? chosen : "default";
    mffa_code rc = find_file("AWS_SHARED_CREDENTIALS_FILE", "credentials", &credentials, err);
    if (!rc) rc = find_file("AWS_CONFIG_FILE", "config", &config, err);
    if (!rc && credentials.len) rc = read_file(&p, mffa_buf_text(&credentials), name, false, err);
    if (!rc && config.len) rc = read_file(&p, mffa_buf_text(&config), name, true, err);
    if (!rc && chosen && !p.exists)
        rc = mffa_fail(err, MFFA_EDENIED, "AWS_PROFILE=\"%.80s\" is in neither \"%s\" nor \"%s\"", name, mffa_buf_text(&credentials),
                       mffa_buf_text(&config));
    return rc ? rc : conclude(&p, region, name, out, err);
}
