// The real discord.js: joins, plays the given Opus packets, keeps what it hears, and prints it as one line of JSON.
// Arguments: the READY line of the server, the channel, a user to listen to. Input: one line begins, one more ends.

import { Readable } from 'node:stream';
import { Client, GatewayIntentBits } from 'discord.js';
import {
  EndBehaviorType,
  StreamType,
  VoiceConnectionStatus,
  createAudioPlayer,
  createAudioResource,
  entersState,
  joinVoiceChannel,
} from '@discordjs/voice';

const [ready, channelId, userId] = process.argv.slice(2);
const server = JSON.parse(ready);
const client = new Client({
  intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildVoiceStates],
  rest: { api: server.api_base.replace(/\/v10$/, ''), version: '10' },
});

function packets() {
  return Array.from({ length: 50 }, (_, index) => {
    const packet = Buffer.alloc(44, index % 251);
    packet.set([0xfc, 9, index >> 8, index & 0xff]);
    return packet;
  });
}

client.once('clientReady', async () => {
  const { guild } = await client.channels.fetch(channelId);
  const connection = joinVoiceChannel({
    channelId,
    guildId: guild.id,
    adapterCreator: guild.voiceAdapterCreator,
    selfDeaf: false,
  });
  await entersState(connection, VoiceConnectionStatus.Ready, 20_000);
  console.log('joined');
  const heard = [];
  const stream = connection.receiver.subscribe(userId, { end: { behavior: EndBehaviorType.Manual } });
  stream.on('data', (packet) => heard.push(packet.toString('base64')));
  process.stdin.once('data', () => {
    const player = createAudioPlayer();
    connection.subscribe(player);
    player.play(createAudioResource(Readable.from(packets()), { inputType: StreamType.Opus }));
    player.once('idle', () => console.log('played'));
    process.stdin.once('data', () => {
      connection.destroy();
      client.destroy();
      console.log(JSON.stringify(heard));
      process.exit(0);
    });
  });
});

await client.login(server.token);
