import { connect } from 'tidings/client';

globalThis.opened = connect(globalThis.settings);
