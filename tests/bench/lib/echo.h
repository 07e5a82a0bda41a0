/* echo.h - what peer_echo and echo_server say to each other.
 *
 * Frames as the daemon's (proto/frame.h).  A request's content begins with two
 * big-endian numbers of 32 bits, an id and the size of the content of the reply;
 * a reply's with the same id.  The rest is filler.
 */
#ifndef TESTS_BENCH_LIB_ECHO_H
#define TESTS_BENCH_LIB_ECHO_H

#define ECHO_REQUEST_LEAST_BYTES 8
#define ECHO_REPLY_LEAST_BYTES   4
#define ECHO_MAX_BYTES           (1 << 20) /* of a content */
#define ECHO_FILLER              'e'

#endif
