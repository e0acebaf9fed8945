"""Running code that models wrote, so that the worst it can do is to be wrong.

Every program runs in a process of its own, in a jail: namespaces of its own (bubblewrap makes them where it is
installed), another user, a small read-only tree of files, limits, and a filter of system calls. Tests run in a
second jail and call the program's functions over a socket, so that a program never shares a process with its
tests or with their verdict.

`sandbox` is what others use; `isolation` says what this system can do and builds the jail's command; `jail` is the
package's end of one jail; `filter` chooses the system calls; `inside` is what runs in there.
"""
