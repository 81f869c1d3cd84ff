/*
 * tlv - a byte string of tagged, length-prefixed records: the state that clusterd
 * hands to its successor.
 *
 *   record   tag (2 bytes), length (4 bytes), that many bytes; numbers little-endian
 *
 * A record may hold records. What a reader does not know it skips, what is missing
 * it sees missing, so neighbouring versions can read each other. No text is ever
 * parsed for separators, so nothing that a worker wrote can pose as a record
 * (CVE-2018-15686).
 *
 * Pure. The writer counts on when its memory is full, so one pass with size 0
 * tells how much is needed.
 */
#ifndef CLUSTERD_CORE_TLV_H
#define CLUSTERD_CORE_TLV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tlv_writer {
	uint8_t *out;
	size_t size, used; /* used may pass size: then nothing beyond it was written */
};

void tlv_put(struct tlv_writer *w, uint16_t tag, const void *bytes, size_t size);
void tlv_put_number(struct tlv_writer *w, uint16_t tag, uint64_t number);
void tlv_put_text(struct tlv_writer *w, uint16_t tag, const char *text);

/* Bytes of a record that is begun, as they are. */
void tlv_append(struct tlv_writer *w, const void *bytes, size_t size);

/* A record of records: returns a mark for tlv_end(). */
size_t tlv_begin(struct tlv_writer *w, uint16_t tag);
void tlv_end(struct tlv_writer *w, size_t mark);

struct tlv_reader {
	const uint8_t *at, *end;
};

struct tlv {
	uint16_t tag;
	uint32_t size;
	const uint8_t *bytes;
};

struct tlv_reader tlv_reader(const void *bytes, size_t size);

/* 1 and *ret, 0 at the end, -1 when a record reaches beyond the end. */
int tlv_next(struct tlv_reader *r, struct tlv *ret);

/* The whole is a row of well-formed records. */
bool tlv_valid(const void *bytes, size_t size);

/* The first record with that tag. */
bool tlv_find(const void *bytes, size_t size, uint16_t tag, struct tlv *ret);

/* Number or text of the first record with that tag; false, and *ret as it was, if there is none or it does not fit. */
bool tlv_number(const struct tlv *in, uint16_t tag, uint64_t *ret);
bool tlv_text(const struct tlv *in, uint16_t tag, char *ret, size_t size);

#endif
