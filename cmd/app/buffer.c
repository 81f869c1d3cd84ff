#include "cmd/app/buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 512 };

bool buffer_reserve(struct buffer *buffer, size_t more)
{
	size_t capacity = buffer->capacity ? buffer->capacity : CAPACITY_MIN;
	char *data;

	if (more <= buffer->capacity - buffer->size)
		return true;
	while (capacity - buffer->size < more) {
		if (capacity > SIZE_MAX / 2)
			return false;
		capacity *= 2;
	}
	if (buffer->budget && buffer->budget->left < capacity - buffer->capacity)
		return false;
	data = realloc(buffer->data, capacity);
	if (!data)
		return false;
	if (buffer->budget)
		buffer->budget->left -= capacity - buffer->capacity;
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
	if (size == 0 || buffer->failed)
		return;
	if (!buffer_reserve(buffer, size)) {
		buffer->failed = true;
		return;
	}
	memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
	buffer_append(buffer, text, strlen(text));
}

void buffer_append_number(struct buffer *buffer, unsigned long long number)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	buffer_append(buffer, digits + at, sizeof digits - at);
}

void buffer_clear(struct buffer *buffer, size_t keep)
{
	if (buffer->capacity > keep)
		buffer_finish(buffer);
	buffer->size = 0;
	buffer->failed = false;
}

void buffer_finish(struct buffer *buffer)
{
	if (buffer->budget)
		buffer->budget->left += buffer->capacity;
	free(buffer->data);
	buffer->data = NULL;
	buffer->size = buffer->capacity = 0;
	buffer->failed = false;
}
