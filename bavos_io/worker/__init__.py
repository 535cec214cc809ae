"""The program that decodes one untrusted file, run by `decoder` as a sandboxed process.

It reads the file from standard input and a request, as JSON, from its argument. It writes messages
to standard output: a line of JSON and then as many bytes as the line's "bytes" says. It needs
nothing but PyAV and the standard library, so that it starts quickly.
"""

SOUND_RATE = 48_000  # samples a second, in two channels of 16 bits
THREADS = 4  # more threads would only hold more frames in memory
