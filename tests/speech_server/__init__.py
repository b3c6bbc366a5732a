"""Servers that transcribe, as far as their clients can see: for the two engines that are reached over the network.

They are built on other people's code than the clients (aiohttp), know nothing of plexbridge, and behave as OpenAI's
documentation and the source of Kyutai's moshi-server say, defects included. What is "understood" of a sound is how long
it is, or when it is loud: enough to see that the sound has come, whole and in its place.
"""
