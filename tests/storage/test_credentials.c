/* Every source of credentials against small servers and files; what ends is renewed, and no secret is in an error. */
#include "storage/credentials.h"

#include <sys/stat.h>
#include "storage/store.h"
#include "tests/support/http_script.h"
#include "tests/support/test.h"

static char folder[] = "/tmp/mffa-credentials-XXXXXX";

#define FAR "2999-01-01T00:00:00Z"
#define PAST "2001-01-01T00:00:00Z"
#define GRANT(key, token, ends) \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"" key "\",\"SecretAccessKey\":\"hunter2\",\"Token\":\"" token "\",\"Expiration\":\"" ends "\"}"
#define SCRIPT(...) \
    static const mffa_step steps[] = {__VA_ARGS__}; \
    const char *server = mffa_script_start(steps, MFFA_COUNT(steps))

static const char *below_folder(const char *name) {
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static const char *write_file(const char *name, const char *text) {
    const char *path = below_folder(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* Nothing is set up on this machine. */
static int bare_machine(void **state) {
    (void)state;
    static const char *const names[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
                                        "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN",
                                        "AWS_ROLE_SESSION_NAME", "AWS_ENDPOINT_URL_STS", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_EC2_METADATA_SERVICE_ENDPOINT"};
    for (size_t i = 0; i < MFFA_COUNT(names); i++) unsetenv(names[i]);
    setenv("HOME", folder, 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    return 0;
}

static mffa_credentials_source *open_source(void) {
    mffa_err err = {0};
    mffa_credentials_source *s = NULL;
    assert_ok(mffa_credentials_open("eu-west-1", &s, &err));
    return s;
}

static void assert_gives(mffa_credentials_source *s, const char *key_id, const char *secret, const char *token) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_credentials_done) mffa_credentials c = {0};
    assert_ok(mffa_credentials_get(s, &c, &err));
    assert_string_equal(c.key_id, key_id);
    assert_string_equal(c.secret, secret);
    if (token) assert_string_equal(c.token, token);
    else assert_null(c.token);
}

static void assert_fails(mffa_credentials_source *s, mffa_code code, const char *text) {
    mffa_err err = {0};
    mffa_credentials c = {0};
    assert_int_equal(mffa_credentials_get(s, &c, &err), code);
    if (!strstr(err.msg, text)) fail_msg("\"%s\" is not in \"%s\"", text, err.msg);
    assert_null(strstr(err.msg, "hunter2"));
    assert_null(c.key_id);
}

/* One get of a new source. */
static void assert_new_gives(const char *key_id, const char *secret, const char *token) {
    mffa_credentials_source *s = open_source();
    assert_gives(s, key_id, secret, token);
    mffa_credentials_close(s);
}

static void assert_new_fails(mffa_code code, const char *text) {
    mffa_credentials_source *s = open_source();
    assert_fails(s, code, text);
    mffa_credentials_close(s);
}

static void finish(int requests) {
    assert_int_equal(mffa_script_requests(), requests);
    mffa_script_stop();
}

static void a_bare_machine_is_told_what_to_set(void **state) {
    (void)state;
    assert_new_fails(MFFA_EDENIED, "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or "
                                   "what gives this machine an identity (AWS_EC2_METADATA_DISABLED=true)");
    setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1);
    assert_new_fails(MFFA_EDENIED, "AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not: set both");
}

static void the_environment_comes_first_and_never_changes(void **state) {
    (void)state;
    setenv("AWS_SHARED_CREDENTIALS_FILE", write_file("keys", "[default]\naws_access_key_id=FILE\naws_secret_access_key=hunter2\n"), 1);
    setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1);
    mffa_credentials_source *s = open_source();
    assert_gives(s, "ENV", "hunter2", NULL);
    assert_false(mffa_credentials_expired(s, "ENV"));
    assert_gives(s, "ENV", "hunter2", NULL);
    mffa_credentials_close(s);
}

static const char keys[] = "# a comment\r\n"
                           "[other]\naws_access_key_id = NO\naws_secret_access_key = NO\n\n"
                           "[ default ]\r\n"
                           "aws_access_key_id = AKFILE\r\n"
                           "AWS_SECRET_ACCESS_KEY = hun#ter2/+=   ; not of it\r\n"
                           "s3 =\n  aws_session_token = nested\n"
                           "[half]\naws_access_key_id = HALF\n"
                           "[session]\naws_access_key_id=S\naws_secret_access_key=hunter2\naws_session_token=tok\n";

static void profiles_are_read_as_the_aws_command_does(void **state) {
    (void)state;
    setenv("AWS_SHARED_CREDENTIALS_FILE", write_file("keys", keys), 1);
    setenv("AWS_CONFIG_FILE", write_file("config", "[profile plant]\naws_access_key_id=PLANT\naws_secret_access_key=hunter2\n"
                                                   "[default]\naws_access_key_id=LESS\naws_secret_access_key=LESS\n"
                                                   "[session]\naws_access_key_id=NO\naws_secret_access_key=NO\n"
                                                   "[profile tool]\ncredential_process = /bin/vault hunter2\n"), 1);
    assert_new_gives("AKFILE", "hun#ter2/+=", NULL);
    setenv("AWS_PROFILE", "session", 1);
    assert_new_gives("S", "hunter2", "tok");
    setenv("AWS_PROFILE", "plant", 1);
    assert_new_gives("PLANT", "hunter2", NULL);
    setenv("AWS_PROFILE", "half", 1);
    assert_new_fails(MFFA_EDENIED, "the profile \"half\" has only one of aws_access_key_id and aws_secret_access_key");
    setenv("AWS_PROFILE", "tool", 1);
    assert_new_fails(MFFA_EDENIED, "the profile \"tool\" gets its credentials by credential_process, which is not known here");
    setenv("AWS_PROFILE", "gone", 1);
    assert_new_fails(MFFA_EDENIED, "AWS_PROFILE=\"gone\" is in neither \"");
}

static void files_in_the_home_folder_are_found_and_read_again_when_they_ended(void **state) {
    (void)state;
    assert_int_equal(mkdir(below_folder(".aws"), 0700), 0);
    write_file(".aws/credentials", "[default]\naws_access_key_id=OLD\naws_secret_access_key=hunter2\naws_session_token=t1\n");
    mffa_credentials_source *s = open_source();
    assert_gives(s, "OLD", "hunter2", "t1");
    write_file(".aws/credentials", "[default]\naws_access_key_id=NEW\naws_secret_access_key=hunter3\naws_session_token=t2\n");
    assert_gives(s, "OLD", "hunter2", "t1"); /* nobody has said that they ended */
    assert_true(mffa_credentials_expired(s, "OLD"));
    assert_gives(s, "NEW", "hunter3", "t2");
    assert_true(mffa_credentials_expired(s, "OLD")); /* another thread saw it late: the new ones stay */
    write_file(".aws/credentials", "");
    assert_gives(s, "NEW", "hunter3", "t2");
    mffa_credentials_close(s);
    assert_int_equal(unlink(below_folder(".aws/credentials")) | rmdir(below_folder(".aws")), 0);
}

#define STS(key, ends) \
    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">" \
    "<AssumeRoleWithWebIdentityResult><Credentials>" \
    "<AccessKeyId>" key "</AccessKeyId><SecretAccessKey>hunter2</SecretAccessKey><SessionToken>se&amp;ss</SessionToken>" \
    "<Expiration>" ends "</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"

static void set_web_identity(const char *server) {
    setenv("AWS_ENDPOINT_URL_STS", server, 1);
    setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1", 1); /* never asked for an identity */
    setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/mffa+x", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write_file("token", "eyJ.hunter2.sig\n"), 1);
}

static void a_web_identity_is_exchanged_at_sts(void **state) {
    (void)state;
    SCRIPT({"503 Busy", NULL, NULL}, {"200 OK", NULL, STS("ROLE", "2999-01-01T00:00:00.250Z")});
    set_web_identity(server);
    mffa_credentials_source *s = open_source();
    assert_gives(s, "ROLE", "hunter2", "se&ss");
    assert_gives(s, "ROLE", "hunter2", "se&ss"); /* kept */
    mffa_credentials_close(s);
    assert_non_null(strstr(mffa_script_request(1), "POST / HTTP/1.1"));
    assert_null(strstr(mffa_script_request(1), "hunter2")); /* no secret in a URL or header */
    assert_string_equal(mffa_script_body(1), "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
                                             "&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fmffa%2Bx&RoleSessionName=mffa"
                                             "&WebIdentityToken=eyJ.hunter2.sig");
    finish(2);
}

static void a_profile_names_a_role_with_a_web_identity(void **state) {
    (void)state;
    char config[512];
    SCRIPT({"200 OK", NULL, STS("ROLE", FAR)});
    setenv("AWS_ENDPOINT_URL_STS", server, 1);
    snprintf(config, sizeof config, "[profile pod]\nrole_arn = arn:r\nrole_session_name = me\nweb_identity_token_file = %s\n",
             write_file("token", "tok"));
    setenv("AWS_CONFIG_FILE", write_file("config", config), 1);
    setenv("AWS_PROFILE", "pod", 1);
    assert_new_gives("ROLE", "hunter2", "se&ss");
    assert_non_null(strstr(mffa_script_body(0), "&RoleArn=arn%3Ar&RoleSessionName=me&WebIdentityToken=tok"));
    finish(1);
}

static void what_sts_refuses_is_explained_without_its_words(void **state) {
    (void)state;
    SCRIPT({"400 Bad", NULL, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>hunter2</Message></Error></ErrorResponse>"},
           {"200 OK", NULL, "hunter2, no XML"}, {"200 OK", NULL, STS("ROLE", "soon, hunter2")},
           {"307 Moved", "Location: http://127.0.0.1:1/\r\n", NULL});
    set_web_identity(server);
    assert_new_fails(MFFA_EDENIED, "could not become the role \"arn:aws:iam::1:role/mffa+x\": STS answers 400 InvalidIdentityToken; "
                                   "look at AWS_ROLE_ARN");
    assert_new_fails(MFFA_EIO, "STS answers with something that is no XML");
    assert_new_fails(MFFA_EDENIED, "STS answers without credentials: look at AWS_ENDPOINT_URL_STS");
    assert_new_fails(MFFA_EDENIED, "STS answers 307");
    finish(4);
    write_file("token", "two\nlines hunter2\n");
    assert_new_fails(MFFA_EDENIED, "token\" holds no token: expected one line of text");
    unsetenv("AWS_ROLE_ARN");
    assert_new_fails(MFFA_EDENIED, "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not: set both");
}

static void set_container(const char *server) {
    char url[128];
    snprintf(url, sizeof url, "%s/v1/hunter2?x=1", server);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write_file("pod-token", "Bearer one\n"), 1);
}

static void a_pod_shows_its_token_and_shows_the_renewed_one(void **state) {
    (void)state;
    SCRIPT({.then = MFFA_THEN_CLOSE}, {"200 OK", NULL, GRANT("POD1", "t1", PAST)}, {"200 OK", NULL, GRANT("POD2", "t2", FAR)});
    set_container(server);
    mffa_credentials_source *s = open_source();
    assert_gives(s, "POD1", "hunter2", "t1");
    write_file("pod-token", "Bearer two");
    assert_gives(s, "POD2", "hunter2", "t2"); /* the first ones have ended by the clock */
    assert_gives(s, "POD2", "hunter2", "t2");
    mffa_credentials_close(s);
    assert_non_null(strstr(mffa_script_request(1), "GET /v1/hunter2?x=1 HTTP/1.1"));
    assert_non_null(strstr(mffa_script_request(1), "Authorization: Bearer one"));
    assert_non_null(strstr(mffa_script_request(2), "Authorization: Bearer two"));
    finish(3);
}

static void a_renewal_that_fails_leaves_the_old_ones_until_the_server_refuses_them(void **state) {
    (void)state;
    SCRIPT({"200 OK", NULL, GRANT("POD1", "t1", PAST)}, {"403 Forbidden", NULL, "hunter2"}, {"403 Forbidden", NULL, "hunter2"},
           {"200 OK", NULL, GRANT("POD2", "t2", FAR)});
    set_container(server);
    mffa_credentials_source *s = open_source();
    assert_gives(s, "POD1", "hunter2", "t1");
    assert_gives(s, "POD1", "hunter2", "t1");
    assert_true(mffa_credentials_expired(s, "POD1"));
    assert_fails(s, MFFA_EDENIED, "the service of AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI answers 403");
    assert_gives(s, "POD2", "hunter2", "t2");
    mffa_credentials_close(s);
    finish(4);
}

static void a_pods_answer_and_address_are_checked(void **state) {
    (void)state;
    SCRIPT({"200 OK", NULL, "{\"AccessKeyId\":\"A\" hunter2"}, {"200 OK", NULL, "{\"AccessKeyId\":\"A\"}"},
           {"200 OK", NULL, GRANT("A", "t", "hunter2")});
    static const char *const far[] = {"http://10.0.0.1/x", "http://localhost.example.com/", "http://127.0.0.1:80@10.0.0.1/",
                                      "ftp://127.0.0.1/"};
    set_container(server);
    assert_new_fails(MFFA_EIO, "answers with something that is no JSON");
    assert_new_fails(MFFA_EDENIED, "answers without AccessKeyId or SecretAccessKey");
    assert_new_fails(MFFA_EIO, "answers with an Expiration that is no time");
    write_file("pod-token", "one\r\nX-Evil: hunter2");
    assert_new_fails(MFFA_EDENIED, "pod-token\" holds no token");
    for (size_t i = 0; i < MFFA_COUNT(far); i++) {
        setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", far[i], 1);
        assert_new_fails(MFFA_EDENIED, "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https:// nor http:// on this machine");
    }
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@10.0.0.1/", 1);
    assert_new_fails(MFFA_EDENIED, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not start with \"/\"");
    finish(3);
}

static void an_instance_gives_its_roles_after_a_token(void **state) {
    (void)state;
    SCRIPT({"200 OK", NULL, "imds-token"}, {"200 OK", NULL, "my role\n"}, {"200 OK", NULL, GRANT("INSTANCE", "t", FAR)});
    unsetenv("AWS_EC2_METADATA_DISABLED");
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server, 1);
    assert_new_gives("INSTANCE", "hunter2", "t");
    assert_non_null(strstr(mffa_script_request(0), "PUT /latest/api/token HTTP/1.1"));
    assert_non_null(strstr(mffa_script_request(0), "X-aws-ec2-metadata-token-ttl-seconds: 21600"));
    assert_non_null(strstr(mffa_script_request(1), "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1"));
    assert_non_null(strstr(mffa_script_request(2), "GET /latest/meta-data/iam/security-credentials/my%20role HTTP/1.1"));
    assert_non_null(strstr(mffa_script_request(2), "X-aws-ec2-metadata-token: imds-token"));
    finish(3);
}

static void an_instance_without_role_or_answer_is_a_bare_machine(void **state) {
    (void)state;
    SCRIPT({"200 OK", NULL, "imds-token"}, {"404 Not Found", NULL, NULL}, {.then = MFFA_THEN_SILENCE});
    unsetenv("AWS_EC2_METADATA_DISABLED");
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server, 1);
    assert_new_fails(MFFA_EDENIED, "(the instance has no role)");
    assert_new_fails(MFFA_EDENIED, "(the instance's metadata service gives none)"); /* after a second, not for ever */
    finish(3);
}

#define ENDED {"400 Bad Request", NULL, "<Error><Code>ExpiredToken</Code></Error>"}

static mffa_store *open_store(const char *server) {
    mffa_err err = {0};
    mffa_config c = {0};
    mffa_store *s = NULL;
    setenv("MFFA_S3_ENDPOINT", server, 1);
    setenv("MFFA_S3_CONCURRENCY", "1", 1);
    setenv("MFFA_S3_PART_BYTES", "5242880", 1);
    assert_ok(mffa_config_load_env(&c, MFFA_WORKER, &err));
    assert_ok(mffa_store_setup(&c, folder, &err));
    mffa_config_done(&c);
    assert_ok(mffa_store_open("s3://plant/dir", &s, &err));
    return s;
}

static void credentials_that_end_in_the_middle_of_an_upload_are_renewed(void **state) {
    (void)state;
    SCRIPT({"200 OK", NULL, GRANT("POD1", "t1", FAR)},
           {"200 OK", NULL, "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"},
           {"200 OK", "ETag: \"p1\"\r\n", NULL}, ENDED, {"200 OK", NULL, GRANT("POD2", "t2", FAR)}, {"200 OK", "ETag: \"p2\"\r\n", NULL},
           {"200 OK", NULL, "<CompleteMultipartUploadResult><ETag>\"all\"</ETag></CompleteMultipartUploadResult>"},
           {"200 OK", "x-amz-meta-mffa-put: {mark}\r\n", NULL});
    enum { BYTES = (5 << 20) + 7 };
    mffa_err err = {0};
    MFFA_AUTO(mffa_free_p) char *bytes = calloc(1, BYTES);
    set_container(server);
    mffa_store *s = open_store(server);
    assert_ok(mffa_store_put(s, "big", (mffa_span){bytes, BYTES}, MFFA_PUT_REPLACE, &err));
    mffa_store_close(s);
    assert_non_null(strstr(mffa_script_request(3), "Credential=POD1/"));
    assert_non_null(strstr(mffa_script_request(3), "PUT /plant/dir/big?partNumber=2&uploadId=u1 "));
    assert_non_null(strstr(mffa_script_request(5), "PUT /plant/dir/big?partNumber=2&uploadId=u1 "));
    assert_non_null(strstr(mffa_script_request(5), "Credential=POD2/"));
    assert_non_null(strstr(mffa_script_request(5), "x-amz-security-token: t2"));
    finish(8);
}

static void credentials_that_end_twice_are_an_error(void **state) {
    (void)state;
    SCRIPT({"200 OK", NULL, GRANT("POD1", "t1", FAR)}, ENDED, {"200 OK", NULL, GRANT("POD2", "t2", FAR)}, ENDED);
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    set_container(server);
    mffa_store *s = open_store(server);
    assert_int_equal(mffa_store_get(s, "x", 10, &got, &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "the session has ended"));
    assert_null(strstr(err.msg, "hunter2"));
    mffa_store_close(s);
    finish(4);
}

#define TEST(name) cmocka_unit_test_setup(name, bare_machine)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_bare_machine_is_told_what_to_set),
        TEST(the_environment_comes_first_and_never_changes),
        TEST(profiles_are_read_as_the_aws_command_does),
        TEST(files_in_the_home_folder_are_found_and_read_again_when_they_ended),
        TEST(a_web_identity_is_exchanged_at_sts),
        TEST(a_profile_names_a_role_with_a_web_identity),
        TEST(what_sts_refuses_is_explained_without_its_words),
        TEST(a_pod_shows_its_token_and_shows_the_renewed_one),
        TEST(a_renewal_that_fails_leaves_the_old_ones_until_the_server_refuses_them),
        TEST(a_pods_answer_and_address_are_checked),
        TEST(an_instance_gives_its_roles_after_a_token),
        TEST(an_instance_without_role_or_answer_is_a_bare_machine),
        TEST(credentials_that_end_in_the_middle_of_an_upload_are_renewed),
        TEST(credentials_that_end_twice_are_an_error),
    };
    static const char *const files[] = {"keys", "config", "token", "pod-token"};
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mffa_store_teardown();
    for (size_t i = 0; i < MFFA_COUNT(files); i++) (void)unlink(below_folder(files[i]));
    return rmdir(folder) || failed;
}
