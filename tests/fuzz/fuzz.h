/* Parsers of what strangers send, fed with anything. Each fuzz_*.c is one target; a rule that does not hold, a sanitizer's finding or a
 * crash ends the program. Built with clang, libFuzzer drives it (fuzz_xml CORPUS...); else driver.c, which changes the corpus at random. */
#ifndef MFFA_TESTS_FUZZ_FUZZ_H
#define MFFA_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len); /* libFuzzer's name for a target */

#define FUZZ_RULE(rule)                                                                   \
    do {                                                                                  \
        if (!(rule)) fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #rule), abort(); \
    } while (0)

/* A NUL-terminated copy, for free. (AddressSanitizer's strict_string_checks wants strndup's source to end in a NUL.) */
static inline char *fuzz_text(const uint8_t *bytes, size_t len) {
    char *text = calloc(len + 1, 1);
    FUZZ_RULE(text);
    return len ? memcpy(text, bytes, len) : text;
}

#endif
