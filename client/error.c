/* error.c - errors with their text, and the table of codes. */
#include "impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The public header is installed alone and repeats the numbers. */
#define ERR(name, number, class, outcome, text) \
	_Static_assert(SQLPOOL_ERR_##name == (number), #name);
#include "proto/errors.def"
#undef ERR
_Static_assert(SQLPOOL_CLASS_CLIENT == (int)CLASS_CLIENT, "classes");
_Static_assert(SQLPOOL_UNKNOWN == (int)OUTCOME_UNKNOWN, "outcomes");

static const struct sqlpool_error no_error = {
	.name = "SQLITE_OK",
	.message = "no error",
	.offset = -1,
	.step = -1,
};

static const struct sqlpool_error no_conn = {
	.code = ERR_MISUSE,
	.primary = ERR_MISUSE,
	.name = "MISUSE",
	.message =
	    "no connection: memory ran out, or sqlpool_open was not called",
	.offset = -1,
	.step = -1,
	.class_ = SQLPOOL_CLASS_CLIENT,
};

void
failure_clear(struct failure *f)
{
	mem_free(f->heap);
	f->heap = NULL;
	f->pub = no_error;
}

static void
set_code(struct failure *f, int code, enum error_outcome outcome)
{
	failure_clear(f);
	f->pub.code = code;
	f->pub.primary = code < ERR_FRAME_MAGIC ? code & 0xff : code;
	f->pub.name = error_get_name(code);
	f->pub.class_ = (enum sqlpool_class)error_get_class(code);
	f->pub.outcome = (enum sqlpool_outcome)outcome;
}

/* Keep n bytes as the message, in short when memory runs out. */
static void
set_message(struct failure *f, const uint8_t *p, size_t n)
{
	char *to = f->text;

	if (n >= sizeof(f->text)) {
		f->heap = mem_resize(NULL, n + 1);
		if (f->heap)
			to = f->heap;
		else
			n = sizeof(f->text) - 1;
	}
	if (n > 0)
		memcpy(to, p, n);
	to[n] = '\0';
	f->pub.message = to;
}

void
failure_set_v(struct failure *f, int code, enum error_outcome outcome,
    const char *format, va_list args)
{
	char text[1024];
	int n = vsnprintf(text, sizeof(text), format, args);

	if (n < 0)
		n = 0;
	if ((size_t)n >= sizeof(text))
		n = (int)sizeof(text) - 1;
	set_code(f, code, outcome);
	set_message(f, (const uint8_t *)text, (size_t)n);
}

void
failure_set(struct failure *f, int code, enum error_outcome outcome,
    const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_set_v(f, code, outcome, format, args);
	va_end(args);
}

void
failure_take(struct failure *f, const struct msg_tell *tell)
{
	int code = tell->code > 0 && tell->code <= INT32_MAX ? (int)tell->code
							     : ERR_INTERNAL;

	set_code(f, code, error_get_outcome(code));
	set_message(f, tell->message.p, tell->message.n);
	/* name: error_get_name knows it, unless the daemon is newer */
	if (MSG_HAS(tell, TELL_offset))
		f->pub.offset = (int64_t)tell->offset;
	if (MSG_HAS(tell, TELL_step))
		f->pub.step = (int64_t)tell->step;
	if (MSG_HAS(tell, TELL_class) && tell->class <= CLASS_CLIENT)
		f->pub.class_ = (enum sqlpool_class)tell->class;
	if (MSG_HAS(tell, TELL_outcome) && tell->outcome <= OUTCOME_UNKNOWN)
		f->pub.outcome = (enum sqlpool_outcome)tell->outcome;
	f->pub.retry_ms = tell->retry_ms > UINT32_MAX
	    ? UINT32_MAX
	    : (uint32_t)tell->retry_ms;
}

void
failure_copy(struct failure *to, const struct failure *from)
{
	if (to == from)
		return;
	failure_clear(to);
	to->pub = from->pub;
	set_message(
	    to, (const uint8_t *)from->pub.message, strlen(from->pub.message));
}

const struct sqlpool_error *
sqlpool_get_error(const struct sqlpool_conn *conn)
{
	return conn ? &conn->failure.pub : &no_conn;
}

const struct sqlpool_error *
sqlpool_result_error(const struct sqlpool_result *result)
{
	if (!result)
		return &no_conn;
	if (result->failure.pub.code)
		return &result->failure.pub;
	return &result->step_failure.pub;
}

const char *
sqlpool_get_code_name(int code)
{
	return error_get_name(code < 0 && code > -INT32_MAX ? -code : code);
}

const char *
sqlpool_get_version(void)
{
	return SQLPOOLD_VERSION;
}
