#include "supervisor/core/tlv.h"

#include <string.h>

enum { HEAD = 6, NUMBER = 8 };

static void little(uint8_t *out, uint64_t number, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(number >> (8 * i));
}

static uint64_t number_of(const uint8_t *in, size_t size)
{
	uint64_t number = 0;

	for (size_t i = size; i > 0; i--)
		number = number << 8 | in[i - 1];
	return number;
}

void tlv_append(struct tlv_writer *w, const void *bytes, size_t size)
{
	if (size > 0 && w->used <= w->size && size <= w->size - w->used)
		memcpy(w->out + w->used, bytes, size);
	w->used += size;
}

static void head(struct tlv_writer *w, uint16_t tag, size_t size)
{
	uint8_t bytes[HEAD];

	little(bytes, tag, 2);
	little(bytes + 2, size, 4);
	tlv_append(w, bytes, sizeof bytes);
}

void tlv_put(struct tlv_writer *w, uint16_t tag, const void *bytes, size_t size)
{
	head(w, tag, size);
	tlv_append(w, bytes, size);
}

void tlv_put_number(struct tlv_writer *w, uint16_t tag, uint64_t number)
{
	uint8_t bytes[NUMBER];

	little(bytes, number, sizeof bytes);
	tlv_put(w, tag, bytes, sizeof bytes);
}

void tlv_put_text(struct tlv_writer *w, uint16_t tag, const char *text)
{
	tlv_put(w, tag, text, strlen(text));
}

size_t tlv_begin(struct tlv_writer *w, uint16_t tag)
{
	size_t mark = w->used;

	head(w, tag, 0);
	return mark;
}

void tlv_end(struct tlv_writer *w, size_t mark)
{
	if (w->used <= w->size)
		little(w->out + mark + 2, w->used - mark - HEAD, 4);
}

struct tlv_reader tlv_reader(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	return (struct tlv_reader){ at, at + size };
}

int tlv_next(struct tlv_reader *r, struct tlv *ret)
{
	size_t left = (size_t)(r->end - r->at);
	uint32_t size;

	if (left == 0)
		return 0;
	if (left < HEAD)
		return -1;
	size = (uint32_t)number_of(r->at + 2, 4);
	if (size > left - HEAD)
		return -1;
	*ret = (struct tlv){ (uint16_t)number_of(r->at, 2), size, r->at + HEAD };
	r->at += HEAD + size;
	return 1;
}

bool tlv_valid(const void *bytes, size_t size)
{
	struct tlv_reader r = tlv_reader(bytes, size);
	struct tlv record;
	int rc;

	do
		rc = tlv_next(&r, &record);
	while (rc > 0);
	return rc == 0;
}

bool tlv_find(const void *bytes, size_t size, uint16_t tag, struct tlv *ret)
{
	struct tlv_reader r = tlv_reader(bytes, size);
	struct tlv record;

	while (tlv_next(&r, &record) > 0) {
		if (record.tag != tag)
			continue;
		*ret = record;
		return true;
	}
	return false;
}

bool tlv_number(const struct tlv *in, uint16_t tag, uint64_t *ret)
{
	struct tlv record;

	if (!tlv_find(in->bytes, in->size, tag, &record) || record.size != NUMBER)
		return false;
	*ret = number_of(record.bytes, NUMBER);
	return true;
}

bool tlv_text(const struct tlv *in, uint16_t tag, char *ret, size_t size)
{
	struct tlv record;

	if (!tlv_find(in->bytes, in->size, tag, &record) || record.size >= size ||
	    memchr(record.bytes, '\0', record.size))
		return false;
	memcpy(ret, record.bytes, record.size);
	ret[record.size] = '\0';
	return true;
}
