#include "scheduler/redis_tls.h"

#ifdef MFFA_REDIS_TLS
#include <arpa/inet.h>
#include <stdlib.h>
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include "core/base/cleanup.h"

struct mffa_redis_tls {
    SSL_CTX *ctx;
};

static const char *why(void) {
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : "no reason is given";
}

static mffa_code load(mffa_redis_tls *t, const char *ca, const char *cert, const char *key, mffa_err *err) {
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1) return mffa_fail(err, MFFA_EBUG, "OpenSSL knows no TLS 1.2");
    if (ca ? SSL_CTX_load_verify_locations(t->ctx, ca, NULL) != 1 : SSL_CTX_set_default_verify_paths(t->ctx) != 1)
        return mffa_fail(err, MFFA_EINVAL, "MFFA_REDIS_CA_FILE=\"%s\": cannot use it: %s", ca ? ca : "", why());
    if (!cert != !key)
        return mffa_fail(err, MFFA_EINVAL, "MFFA_REDIS_CERT_FILE and MFFA_REDIS_KEY_FILE belong together: give both or none");
    if (cert && SSL_CTX_use_certificate_chain_file(t->ctx, cert) != 1)
        return mffa_fail(err, MFFA_EINVAL, "MFFA_REDIS_CERT_FILE=\"%s\": cannot use it: %s", cert, why());
    if (key && (SSL_CTX_use_PrivateKey_file(t->ctx, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(t->ctx) != 1))
        return mffa_fail(err, MFFA_EINVAL, "MFFA_REDIS_KEY_FILE=\"%s\": cannot use it: %s", key, why());
    return MFFA_OK;
}

mffa_code mffa_redis_tls_open(const char *ca, const char *cert, const char *key, mffa_redis_tls **out, mffa_err *err) {
    mffa_redis_tls *t = calloc(1, sizeof *t);
    if (!t || !(t->ctx = SSL_CTX_new(TLS_client_method()))) return mffa_redis_tls_close(t), mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = load(t, ca, cert, key, err);
    if (rc) mffa_redis_tls_close(t);
    else *out = t;
    return rc;
}

void mffa_redis_tls_close(mffa_redis_tls *t) {
    if (t) SSL_CTX_free(t->ctx);
    free(t);
}

/* A certificate names hosts or addresses; SNI only hosts. */
static bool expect_host(SSL *ssl, const char *host) {
    struct in6_addr any;
    if (inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

mffa_code mffa_redis_tls_start(mffa_redis_tls *t, struct redisContext *connection, const char *host, mffa_err *err) {
    SSL *ssl = SSL_new(t->ctx);
    if (!ssl || !expect_host(ssl, host)) return SSL_free(ssl), mffa_fail(err, MFFA_ENOMEM, "out of memory");
    ERR_clear_error();
    if (redisInitiateSSL(connection, ssl) == REDIS_OK) return MFFA_OK; /* the connection has it now */
    long verdict = SSL_get_verify_result(ssl);
    SSL_free(ssl);
    if (verdict != X509_V_OK)
        return mffa_fail(err, MFFA_EDENIED, "its certificate does not fit: %s", X509_verify_cert_error_string(verdict));
    return mffa_fail(err, MFFA_EIO, "TLS: %s", connection->errstr);
}

#else

mffa_code mffa_redis_tls_open(const char *ca, const char *cert, const char *key, mffa_redis_tls **out, mffa_err *err) {
    (void)ca, (void)cert, (void)key, (void)out;
    return mffa_fail(err, MFFA_EUNSUPPORTED,
                     "this build cannot speak TLS to Redis (its hiredis has none): use redis:// through a TLS tunnel, or unix://");
}
void mffa_redis_tls_close(mffa_redis_tls *t) { (void)t; }
mffa_code mffa_redis_tls_start(mffa_redis_tls *t, struct redisContext *connection, const char *host, mffa_err *err) {
    (void)t, (void)connection, (void)host;
    return mffa_fail(err, MFFA_EBUG, "TLS is not built in");
}
#endif
