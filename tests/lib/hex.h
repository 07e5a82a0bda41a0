/* hex.h - bytes as hexadecimal text and back, for tests.
 *
 * Memory that runs out ends the test program.  Any thread.
 */
#ifndef TESTS_LIB_HEX_H
#define TESTS_LIB_HEX_H

#include "proto/buf.h"

/* Append the bytes that text spells to b; white space is skipped.  Returns 0,
 * or -1 when something else than pairs of digits is there. */
int hex_parse(const char *text, struct buf *b);

/* Give n bytes as text, NUL-terminated; the caller frees it. */
char *hex_format(const uint8_t *p, size_t n);

#endif
