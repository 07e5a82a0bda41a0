/* check_notify.c - what takes long is said to take longer, while it goes on. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/notify.h"

#define EVERY_US 2000

static struct notify n;
static int manager;
static char dir[] = "/tmp/check_notify.XXXXXX";
static char path[sizeof(dir) + 2];

static void
setup(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/n", dir);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setenv("NOTIFY_SOCKET", path, 1);
	notify_open(&n);
	n.work.every_us = EVERY_US;
}

static void
teardown(void)
{
	notify_close(&n);
	close(manager);
	unlink(path);
	rmdir(dir);
}

/* How many messages have come since the last time. */
static unsigned
count_said(void)
{
	char text[256];
	unsigned said_n = 0;
	ssize_t len;

	while (
	    (len = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0) {
		text[len] = '\0';
		ck_assert_int_eq(
		    strncmp(text, NOTIFY_EXTEND, strlen(NOTIFY_EXTEND)), 0);
		said_n++;
	}
	return said_n;
}

START_TEST(work_that_goes_on_takes_longer)
{
	unsigned said_n = 0;

	notify_begin(&n, "working");
	while (said_n < 5)
		said_n += count_said(); /* which is work */
	notify_end(&n);
	count_said();
	ck_assert_uint_eq(count_said(), 0);
}
END_TEST

/* A hundred times less than it would be. */
START_TEST(work_that_hangs_does_not)
{
	struct timespec ts = { 0, 300L * EVERY_US * 100 };

	notify_begin(&n, "hanging");
	while (nanosleep(&ts, &ts) < 0)
		ck_assert_int_eq(errno, EINTR);
	notify_end(&n);
	ck_assert_uint_le(count_said(), 3);
}
END_TEST

START_TEST(nothing_is_said_when_nobody_asked)
{
	notify_close(&n);
	unsetenv("NOTIFY_SOCKET");
	notify_open(&n);
	notify_begin(&n, "working");
	notify_end(&n);
	ck_assert_uint_eq(count_said(), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("notify");
	TCase *tc = tcase_create("notify");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, work_that_goes_on_takes_longer);
	tcase_add_test(tc, work_that_hangs_does_not);
	tcase_add_test(tc, nothing_is_said_when_nobody_asked);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
