/* frame.c - the five-byte prefix. */
#include "proto/frame.h"

#include "proto/error.h"

int
frame_peek(const uint8_t *p, size_t n, size_t max_bytes, size_t *ret_bytes)
{
	size_t length;

	if (n == 0) {
		*ret_bytes = 0;
		return FRAME_PARTIAL;
	}
	if (p[0] != FRAME_MAGIC)
		return -ERR_FRAME_MAGIC;
	if (n < FRAME_PREFIX_BYTES) {
		*ret_bytes = 0;
		return FRAME_PARTIAL;
	}
	length = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 |
	    (size_t)p[4];
	if (length > max_bytes)
		return -ERR_FRAME_TOO_LONG;
	*ret_bytes = FRAME_PREFIX_BYTES + length;
	return n < *ret_bytes ? FRAME_PARTIAL : 0;
}

void
frame_put_prefix(uint8_t *p, uint32_t n)
{
	p[0] = FRAME_MAGIC;
	p[1] = (uint8_t)(n >> 24);
	p[2] = (uint8_t)(n >> 16);
	p[3] = (uint8_t)(n >> 8);
	p[4] = (uint8_t)n;
}
