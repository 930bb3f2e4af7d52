/** For TypeDoc: what its own settings can't say about which names need words. */
import { Converter, ReflectionKind } from 'typedoc';

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    // A property has one description, which stands above its getter.
    for (const { getSignature, setSignature } of project.getReflectionsByKind(ReflectionKind.Accessor))
      if (getSignature?.hasComment() && setSignature) setSignature.comment ??= getSignature.comment.clone();
  });
  // Members of a type that is written out within a declaration are told of by the words of that.
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    const told = new Set();
    for (const member of project.getReflectionsByKind(
      ReflectionKind.Property | ReflectionKind.CallSignature,
    )) {
      const around = ancestors(member);
      const owner = around[member.kindOf(ReflectionKind.CallSignature) ? 1 : 0];
      if (!owner.kindOf(ReflectionKind.TypeLiteral)) continue;
      if (!member.hasComment() && !around.some(({ kind }) => kind === ReflectionKind.Parameter))
        told.add(member.getFriendlyFullName());
    }
    app.options.getValue('intentionallyNotDocumented').push(...told);
  });
}

function ancestors(reflection) {
  return reflection.parent === undefined ? [] : [reflection.parent, ...ancestors(reflection.parent)];
}
