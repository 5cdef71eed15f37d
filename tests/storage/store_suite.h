/* What every kind of store must do, run against a URL: a prefix that is empty and may be written. */
#ifndef MFFA_TESTS_STORAGE_STORE_SUITE_H
#define MFFA_TESTS_STORAGE_STORE_SUITE_H

/* Number of failed tests. */
int store_suite_run(const char *url);

#endif
