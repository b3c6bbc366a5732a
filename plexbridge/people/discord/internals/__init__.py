"""Everything that touches the inside of discord.py 2.7.1; `library.check_library` has made sure that it is this one.

discord.py sends voice but does not receive it. Eight things here go beyond its public interface. `patches` puts into
the place of discord.py's own, before a client connects:

* where Discord is: attributes of two classes (`prepare`);
* the socket's reader, which is a thread for each connection: `media.MediaReader` replaces it for all of them;
* IP discovery, which needs that thread, and logs a traceback when it is cancelled in the moment of the answer
  (`discover_ip`);
* the intents of a client that has logged in (`forgo_messages`).

`states`, how a voice connection comes about, is moved and ends:

* the wait for a connection's states, which can miss one, and the task that reads the voice gateway: discord.py's own
  resumes in vain, takes the next move for the end after it has reconnected once, and dies of a message that it can't
  use while the connection seems to live. Ours follows moves and reports every other end;
* the order of a rejoin: the goodbye of an earlier connection arrives at the next one (`voice_state_update`).

`link`, what is sent and received over it:

* messages of the voice gateway: a hook sees each after discord.py has handled it (who speaks with which SSRC, who left,
  the session's key);
* the DAVE session: looked up for every frame, because it is made anew whenever the group or the connection changes,
  and made where discord.py makes none, in a call that begins without encryption.
"""
